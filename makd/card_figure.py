"""Figure 5 of arXiv 2501.13341: single images, and P(yes) of student and teacher beside them."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from makd.figures import LOOK, counted, new_figure, say_instead, shorten
from makd.image_cards import ImageCard
from makd.report_data import ReportData
from makd.runs import ARMS
from makd.thumbnails import square

PICTURE_PX = 160
TEACHER_COLOUR = "#777777"
SHOWN = 8
LONGEST = 72  # characters of a question, in two lines


def card_figure(data: ReportData, cards: list[ImageCard], *, name: str) -> Figure:
    """The first cards, two a line, of the first model, whose run is called `name`."""
    cards, model = cards[:SHOWN], data.models[0]
    lines = max(1, -(-len(cards) // 2))
    figure = new_figure(13.5, 0.9 + 2.6 * lines)
    grid = figure.subplots(lines, 4, squeeze=False, width_ratios=[1, 1.5, 1, 1.5])
    pairs = [pair for line in grid for pair in ((line[0], line[1]), (line[2], line[3]))]
    for axes in (axes for pair in pairs[len(cards) :] for axes in pair):
        axes.set_visible(False)
    p_class, p_yes = {arm: data.p_class(model, arm) for arm in ARMS}, data.p_yes(model)
    for card, (picture, bars) in zip(cards, pairs, strict=False):
        said = {arm: p[card.row] for arm, p in p_class.items()}
        draw_picture(picture, data.test_images.iloc[card.row], card.kind, said, data.class_names)
        draw_bars(bars, card, p_yes[card.row], data.teacher_on_test[card.row], data.questions)
    figure.suptitle(f"{counted(len(cards), 'test image')} drawn at random, some of each kind; {name}", fontsize=10)
    colours = {"student's P(yes)": LOOK["makd"][0], "teacher's P(yes)": TEACHER_COLOUR}
    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def draw_picture(
    axes: Any, image: pd.Series, kind: str, said: dict[str, Float[np.ndarray, " classes"]], class_names: list[str]
) -> None:
    axes.imshow(np.asarray(square(image["path"], image["image_id"], PICTURE_PX)), interpolation="lanczos")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(f"{shorten(image['class_name'], 28)}\n{kind}", fontsize=8, loc="left")
    verdicts = [f"{arm}: {shorten(class_names[p.argmax()], 22)} {p.max():.0%}" for arm, p in said.items()]
    axes.set_xlabel("\n".join(verdicts), fontsize=7, loc="left")


def draw_bars(
    axes: Any,
    card: ImageCard,
    student: Float[np.ndarray, " questions"],
    teacher: Float[np.ndarray, " questions"],
    questions: list[str],
) -> None:
    if not card.questions:
        say_instead(axes, "no question was answered")
        return
    y = np.arange(len(card.questions))
    axes.barh(y - 0.19, student[card.questions], 0.36, color=LOOK["makd"][0])
    axes.barh(y + 0.19, teacher[card.questions], 0.36, color=TEACHER_COLOUR)
    texts = [textwrap.fill(shorten(questions[question], LONGEST), LONGEST // 2 + 4) for question in card.questions]
    axes.set_yticks(y, texts, fontsize=5.5, linespacing=1.05)
    axes.set_ylim(len(y) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("P(yes)", fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x")
