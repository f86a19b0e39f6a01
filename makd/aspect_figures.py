"""The figures of the questions: what each is worth, and P(yes) by class."""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from makd.figures import COLOURS, MARKERS, NO_ANSWER, counted, new_figure, shorten

LONGEST_QUESTION = 70
MOST_TICKS = 200
ROW = 0.24  # inches a question
WARNING = COLOURS[1]


def questions_figure(table: pd.DataFrame, n_images: int, n_test: int) -> Figure:
    """A row a question in rank order: how its answers spread over all images, and how well they are learned on test."""
    figure = new_figure(12.0, 1.3 + ROW * len(table))
    spread, quality = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.6])
    draw_spread(spread, table)
    draw_quality(quality, table)
    spread.set_ylim(len(table) - 0.4, -0.6)
    spread.set_xlabel(f"P(yes) of the teacher: mean ± std over {counted(n_images, 'image')}")
    quality.set_xlabel(f"AUC (0.5: chance, 1: perfect); students on {counted(n_test, 'test image')}")
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


def draw_quality(axes: Any, table: pd.DataFrame) -> None:
    """The truth on the row's line; the students around it, so that equal ones do not hide each other."""
    columns = [column for column in table.columns if column.startswith("auc_")]
    offsets = {"truth_auc": 0.0} | dict(zip(columns, student_offsets(len(columns)), strict=True))
    looks = zip(cycle(COLOURS[2:] + COLOURS[:2]), cycle(MARKERS[2:] + MARKERS[:2]), strict=False)
    y = np.arange(len(table))
    for (column, offset), (colour, marker) in zip(offsets.items(), looks, strict=False):
        if table[column].notna().any():
            student = shorten(column.removeprefix("auc_"), 24)
            label = "teacher against truth" if column == "truth_auc" else f"{student} against teacher"
            axes.plot(table[column], y + offset, marker, color=colour, markersize=5, label=label)
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
    axes.set_title(f"Teacher's mean P(yes): {counts}", loc="left")
    shrink = min(1.0, 5 / (ROW * n_questions + 0.5))  # about five inches, however many rows
    figure.colorbar(image, ax=axes, label="mean P(yes)", shrink=shrink, aspect=25, anchor=(0, 1), pad=0.01)
    return figure
