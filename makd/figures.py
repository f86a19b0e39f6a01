"""What all figures share, and the figures of accuracy and training."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from makd.files import atomic_write
from makd.metrics import mean_and_std
from makd.runs import ARMS
from makd.tables import plus_minus

DPI = 120
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "text.parse_math": False,  # a question may speak of dollars
}
# Okabe and Ito's colours, told apart by colour-blind readers too; the markers say it again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "*")
NO_ANSWER = "#d0d0d0"
LOOK = {"baseline": ("#0072B2", "o"), "makd": ("#D55E00", "D")}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save in here: the project's style on matplotlib's defaults, whatever the user's own settings are."""
    with matplotlib.style.context(STYLE, after_reset=True):
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """A PNG whose bytes depend on the picture and on matplotlib's version alone."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})


def new_figure(width: float, height: float) -> Figure:
    """Sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def shorten(text: str, width: int) -> str:
    """At most `width` characters, cut between words where it can be, with an ellipsis."""
    if len(text) <= width:
        return text
    return textwrap.shorten(text, width, placeholder="…") if " " in text[:width] else text[: width - 1] + "…"


def say_instead(axes: Any, text: str) -> None:
    """Text in place of a plot that there is nothing for."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, textwrap.fill(text, 36), ha="center", va="center", color="#666666", transform=axes.transAxes)


def accuracy_figure(accuracy: pd.DataFrame, of_runs: pd.DataFrame, n_images: int) -> Figure:
    """Each model's arms on test, seed by seed, and the gap with its bootstrap interval.

    `accuracy` has a row a model, `of_runs` a row a model, arm and seed (makd/tables.py).
    """
    figure = new_figure(10.0, 1.5 + 0.75 * len(accuracy))
    left, right = figure.subplots(1, 2, sharey=True)
    for row, model in enumerate(accuracy.itertuples()):
        runs = of_runs[of_runs["model"] == model.model]
        by_arm = runs.pivot(index="seed", columns="arm", values="test_accuracy")
        for arm, offset in zip(ARMS, (-0.17, 0.17), strict=True):
            dots(left, by_arm[arm].to_numpy(), row + offset, *LOOK[arm])
        right.plot([model.gap_low, model.gap_high], [row, row], color="#b0b0b0", linewidth=2.5, zorder=1)
        dots(right, (by_arm["makd"] - by_arm["baseline"]).to_numpy(), float(row), "#333333", "o", "+")
    n_seeds = of_runs["seed"].nunique()
    left.set_yticks(range(len(accuracy)), [shorten(model, 28) for model in accuracy["model"]])
    left.set_ylim(len(accuracy) - 0.45, -0.55)
    over_seeds = " (mean ± std over seeds)" if n_seeds > 1 else ""
    left.set_xlabel(f"test accuracy, %{over_seeds}")
    left.set_title(f"Accuracy: {counted(n_images, 'test image')}, {counted(n_seeds, 'seed')}", loc="left")
    right.axvline(0, color="#999999", linewidth=1, linestyle="--")
    right.set_xlabel(f"gap, percentage points{over_seeds}")
    right.set_title("makd − baseline, with the 95 % interval over images", loc="left")
    for axes in (left, right):
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.08)
    handles = [left.plot([], [], marker=LOOK[arm][1], color=LOOK[arm][0], linestyle="", label=arm)[0] for arm in ARMS]
    if n_seeds > 1:
        handles += [left.plot([], [], "o", color="#999999", markersize=4, label="a seed")[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def dots(axes: Any, values: Float[np.ndarray, " seeds"], y: float, colour: str, marker: str, sign: str = "") -> None:
    """The seeds as small marks, their mean as a large one, and above it both numbers; a single seed is its mean."""
    mean, std = mean_and_std(values)
    if len(values) > 1:
        axes.plot(values, np.full(len(values), y), marker, color=colour, markersize=4, alpha=0.45, markeredgewidth=0)
    axes.plot(mean, y, marker, color=colour, markersize=8, markeredgecolor="white", zorder=3)
    label = plus_minus(mean, std, sign)
    axes.annotate(label, (mean, y), (0, 6), textcoords="offset points", ha="center", fontsize=8, color=colour)


def counted(n: int, noun: str, plural: str = "") -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {plural or noun + 's'}"


Curve = tuple[str, str, str, str]
"""Arm, column, line style and label."""

CURVES: dict[str, list[Curve]] = {
    "val accuracy, %": [(arm, "val_accuracy", "-", arm) for arm in ARMS],
    "train cross-entropy of the classes, nats": [(arm, "train_class_loss", "-", arm) for arm in ARMS],
    "aspect loss of makd, nats": [
        ("makd", "train_aspect_loss", "-", "train"),
        ("makd", "val_aspect_bce", "--", "val (BCE)"),
    ],
}


def training_figure(training: pd.DataFrame) -> Figure:
    """What each epoch brought: a row a model, mean over the seeds in a band from the least to the greatest."""
    models = list(training["model"].unique())
    figure = new_figure(11.0, 0.6 + 2.4 * len(models))
    grid = figure.subplots(len(models), len(CURVES), squeeze=False)
    for row, model in zip(grid, models, strict=True):
        for axes, (title, curves) in zip(row, CURVES.items(), strict=True):
            axes.set_title(title, loc="left")
            axes.set_xlabel("epoch")
            draw_curves(axes, training[training["model"] == model], curves)
        row[0].set_ylabel(shorten(model, 28))
    n_seeds = training["seed"].nunique()
    explained = " (line: mean, band: least to greatest)" if n_seeds > 1 else ""
    figure.suptitle(f"Training, {counted(n_seeds, 'seed')}{explained}", fontsize=10)
    return figure


def draw_curves(axes: Any, training: pd.DataFrame, curves: list[Curve]) -> None:
    for arm, column, line, label in curves:
        by_epoch = training[training["arm"] == arm].groupby("epoch")[column].agg(["mean", "min", "max"]).dropna()
        if len(by_epoch):
            axes.plot(by_epoch.index, by_epoch["mean"], line, color=LOOK[arm][0], label=label, linewidth=1.4)
            axes.fill_between(by_epoch.index, by_epoch["min"], by_epoch["max"], color=LOOK[arm][0], alpha=0.2, lw=0)
    if axes.lines:
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
        axes.legend(loc="best", fontsize=8)
    else:
        say_instead(axes, "nothing was recorded")
