"""An explanation as one picture: the image, the weight of its aspects, and how usual each of them is."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from makd.errors import UserError
from makd.explain import NOTE, Aspect, Explanation, verdict
from makd.figures import LOOK, figure_style, new_figure, save_figure, shorten
from makd.files import make_parent

SHOWN = 8
LONGEST = 76  # characters of a question, in two lines
FOR, AGAINST = LOOK["makd"][0], LOOK["baseline"][0]
USUAL = {"predicted": (FOR, "D"), "rival": (AGAINST, "o")}


def check_card(card: Path, image: Path) -> None:
    """Raise a `UserError`, before anything is computed, where a card cannot or must not be written."""
    if card.suffix.lower() != ".png":
        raise UserError(f"{card}: a card is a PNG; give a name that ends in .png")
    try:
        taken = "a folder" if card.is_dir() else "the picture itself" if card.exists() and card.samefile(image) else ""
    except OSError as error:  # such as a name that is too long
        raise UserError(f"{card} cannot be written: {error.strerror}; give another name") from None
    if taken:
        raise UserError(f"{card} is {taken}; give another name")
    make_parent(card)


def save_card(explanation: Explanation, image: Image.Image, path: Path) -> None:
    """A PNG of the prediction against its strongest rival; equal content gives equal bytes."""
    rival, predicted = explanation.rivals[0], shorten(explanation.predicted, 28)
    other = shorten(rival.name, 28)
    aspects = rival.aspects[:SHOWN]
    with figure_style():
        figure = new_figure(12.5, 1.9 + 0.42 * max(5, len(aspects)))
        picture, bars, dots = figure.subplots(1, 3, width_ratios=[1.0, 1.7, 1.1])
        draw_picture(picture, explanation, image)
        draw_bars(bars, aspects, f"{predicted} rather than {other}", f"speaks for {other}", f"for {predicted}")
        draw_usual(dots, aspects, predicted, other)
        rest = sum(one.nats for one in rival.aspects[SHOWN:])
        beyond = f", {rest:+.1f} in the {len(rival.aspects) - SHOWN} that are not shown" if rest else ""
        bars.set_xlabel(f"nats; {rival.nats:+.1f} in all{beyond}".replace("-", "−"))
        figure.supxlabel(f"{verdict(explanation)} {NOTE}", fontsize=8, color="#555555")
        save_figure(figure, path)


def draw_picture(axes: Any, explanation: Explanation, image: Image.Image) -> None:
    axes.imshow(np.asarray(image.convert("RGB")), interpolation="lanczos")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(f"{shorten(explanation.predicted, 30)}, {explanation.probability:.1%}", loc="left", weight="bold")
    others = [f"{shorten(rival.name, 30)}, {rival.probability:.1%}" for rival in explanation.rivals]
    axes.set_xlabel("\n".join(others), loc="left", color="#555555")


def draw_bars(axes: Any, aspects: list[Aspect], title: str, left: str, right: str) -> None:
    y, nats = np.arange(len(aspects)), np.array([one.nats for one in aspects])
    axes.barh(y, nats, 0.62, color=np.where(nats > 0, FOR, AGAINST))
    axes.axvline(0, color="#333333", linewidth=0.8)
    reach = 1.25 * max(0.1, float(np.abs(nats).max(initial=0)))
    axes.set_xlim(-reach, reach)
    for row, value in enumerate(nats):
        axes.annotate(
            f"{value:+.1f}".replace("-", "−"),
            (value, row),
            (3 if value > 0 else -3, 0),
            textcoords="offset points",
            ha="left" if value > 0 else "right",
            va="center",
            fontsize=8,
        )
    label_rows(axes, aspects)
    axes.grid(axis="x")
    axes.set_title(title, loc="left", pad=18)
    axes.text(0, 1.01, f"← {left}", transform=axes.transAxes, fontsize=7.5, color=AGAINST, va="bottom")
    axes.text(1, 1.01, f"{right} →", transform=axes.transAxes, fontsize=7.5, color=FOR, va="bottom", ha="right")


def draw_usual(axes: Any, aspects: list[Aspect], predicted: str, rival: str) -> None:
    """The picture's P(yes) as a bar, what is usual for either class as a mark."""
    y = np.arange(len(aspects))
    axes.barh(y, [one.p_yes for one in aspects], 0.4, color="#c4c4c4", label="this picture")
    for name, label in (("predicted", predicted), ("rival", rival)):
        colour, marker = USUAL[name]
        values = [getattr(one, name) for one in aspects]
        axes.plot(values, y, marker, color=colour, markersize=6, markeredgecolor="white", label=f"usual for {label}")
    axes.set_ylim(len(aspects) - 0.5, -0.5)
    axes.set_yticks(y, [])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("P(yes)")
    axes.grid(axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=1, fontsize=7.5, borderpad=0)


def label_rows(axes: Any, aspects: list[Aspect]) -> None:
    texts = [textwrap.fill(shorten(one.question, LONGEST), LONGEST // 2 + 4) for one in aspects]
    axes.set_yticks(range(len(aspects)), texts, fontsize=7.5, linespacing=1.05)
    axes.set_ylim(len(aspects) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
