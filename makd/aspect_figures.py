"""The figures of the questions: what each is worth, and P(yes) by class."""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from makd.figures import COLOURS, MARKERS, NO_ANSWER, counted, new_figure, say_instead, shorten

LONGEST_QUESTION = 70
MOST_TICKS = 200
ROW = 0.24  # inches a question
WARNING = COLOURS[1]
MOST_NAMED = 40  # classes that fit under an axis
VIRIDIS = colormaps["viridis"]


def questions_figure(table: pd.DataFrame, learned: pd.DataFrame, n_images: int) -> Figure:
    """A row a question in rank order: how its answers spread over all images, and how well they are learned on test.

    `table` is the question table, `learned` the agreement table.
    """
    figure = new_figure(12.0, 1.3 + ROW * len(table))
    spread, quality = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.6])
    draw_spread(spread, table)
    draw_quality(quality, table, learned)
    spread.set_ylim(len(table) - 0.4, -0.6)
    spread.set_xlabel(f"P(yes) of the teacher: mean ± std over {counted(n_images, 'image')}")
    least, most = int(learned["answers"].min()), int(learned["answers"].max())
    n_test = counted(most, "test image") if least == most else f"{least:,} to {counted(most, 'test image')}"
    quality.set_xlabel(f"AUC (0.5: chance, 1: perfect); students on {n_test}")
    if quality.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper right", ncols=4, fontsize=8)
    return figure


def draw_spread(axes: Any, table: pd.DataFrame) -> None:
    y = np.arange(len(table))
    axes.barh(y, table["p_yes_mean"], xerr=table["p_yes_std"], height=0.6, color="#c3cfd9", ecolor="#555555")
    texts = [shorten(text, LONGEST_QUESTION) for text in table["question"]]
    axes.set_yticks(y, [f"{text}  {rank}" for text, rank in zip(texts, table["rank"], strict=True)], fontsize=8)
    warn_of_constant(axes, table["constant"])
    for row in y[table["constant"]]:
        axes.text(1.0, row, "constant", ha="right", va="center", fontsize=8, color=WARNING)
    axes.set_xlim(0, 1)
    axes.grid(axis="x")


def warn_of_constant(axes: Any, constant: pd.Series) -> None:
    """Colour the questions of the rows that `constant` marks."""
    labels = axes.get_yticklabels()
    for row in np.flatnonzero(constant):
        labels[row].set_color(WARNING)


def draw_quality(axes: Any, table: pd.DataFrame, learned: pd.DataFrame) -> None:
    """The truth on the row's line; the students around it, so that equal ones do not hide each other."""
    students = dict(iter(learned.groupby("model", sort=False)["auc"]))
    lines = [("teacher against truth", table["truth_auc"], 0.0)]
    for (student, auc), offset in zip(students.items(), student_offsets(len(students)), strict=True):
        lines.append((f"{shorten(student, 24)} against teacher", auc, offset))
    looks = zip(cycle(COLOURS[2:] + COLOURS[:2]), cycle(MARKERS[2:] + MARKERS[:2]), strict=False)
    y = np.arange(len(table))
    for (label, values, offset), (colour, marker) in zip(lines, looks, strict=False):
        if values.notna().any():
            axes.plot(values, y + offset, marker, color=colour, markersize=5, label=label)
    if not axes.lines:
        axes.text(0.5, (len(table) - 1) / 2, "nothing to compare the answers with", ha="center", color="#666666")
    axes.set_xlim(-0.03, 1.03)  # room for the marks at 0 and 1
    axes.axvline(0.5, color="#999999", linewidth=1, linestyle="--")
    axes.grid()


def student_offsets(n_students: int) -> list[float]:
    """Spread over half a row; a single one stays in the middle."""
    return [0.0] if n_students == 1 else [float(offset) for offset in np.linspace(-0.25, 0.25, n_students)]


def class_figure(means: pd.DataFrame, constant: pd.Series, n_images: int) -> Figure:
    """Mean P(yes) of the teacher by class (columns) and question (rows, in rank order); figure 3 of the paper.

    `constant` marks the questions with the same answer for every image.
    """
    n_classes, n_questions = means.shape
    cell = min(0.3, 24 / n_classes)
    figure = new_figure(5.5 + cell * n_classes, 2.4 + ROW * n_questions)
    axes = figure.subplots()
    image = axes.imshow(means.T, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_facecolor(NO_ANSWER)
    step = int(np.ceil(n_classes / MOST_TICKS))
    names = [shorten(name, 24) for name in means.index[::step]]
    axes.set_xticks(range(0, n_classes, step), names, rotation=90, fontsize=8 if cell > 0.15 else 6)
    texts = [shorten(text, LONGEST_QUESTION) for text in means.columns]
    marked = [f"{text}  constant" if flag else text for text, flag in zip(texts, constant, strict=True)]
    axes.set_yticks(range(n_questions), marked, fontsize=8)
    warn_of_constant(axes, constant)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    counts = f"{counted(n_classes, 'class', 'classes')}, {counted(n_images, 'image')}"
    figure.suptitle(f"Teacher's mean P(yes): {counts}", fontsize=10)
    shrink = min(1.0, 5 / (ROW * n_questions + 0.5))  # about five inches, however many rows
    figure.colorbar(image, ax=axes, label="mean P(yes)", shrink=shrink, aspect=25, anchor=(0, 1), pad=0.01)
    return figure


def class_means_figure(means: pd.DataFrame, chosen: list[int], n_images: int) -> Figure:
    """Figure 3 of the paper: for each chosen question the classes by their mean P(yes), the extremes named.

    `means` has a row a class and a column a question; `chosen` are positions of columns.
    """
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(12.0, 0.7 + 3.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(chosen) :]:
        axes.set_visible(False)
    for axes, question in zip(grid.flat, chosen, strict=False):
        draw_class_means(axes, means.iloc[:, question].dropna().sort_values(ascending=False, kind="stable"))
        axes.set_title(shorten(means.columns[question], LONGEST_QUESTION), loc="left")
    for row in grid:
        row[0].set_ylabel("mean P(yes)")
    counts = f"{counted(len(means), 'class', 'classes')}, {counted(n_images, 'image')}"
    figure.suptitle(f"Teacher's mean P(yes) by class, the classes from highest to lowest: {counts}", fontsize=10)
    return figure


def draw_class_means(axes: Any, means: pd.Series) -> None:
    if means.empty:
        say_instead(axes, "no answers")
        return
    axes.bar(range(len(means)), means, width=0.85, color=VIRIDIS(means.to_numpy()))
    axes.set_ylim(0, 1)
    axes.grid(axis="y")
    if len(means) <= MOST_NAMED:
        names = [shorten(name, 24) for name in means.index]
        axes.set_xticks(range(len(means)), names, rotation=45, ha="right", fontsize=7)
    else:
        ends = [0, len(means) - 1]
        names = [f"highest: {shorten(means.index[0], 30)}", f"lowest: {shorten(means.index[-1], 30)}"]
        axes.set_xticks(ends, names, fontsize=8)
        for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
            label.set_ha(side)
