from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from makd.card_figure import SHOWN, card_figure
from makd.figures import figure_style, save_figure
from makd.image_cards import ImageCard, choose_cards
from makd.report_data import ReportData
from tests.made_up_report import report_data
from tests.made_up_runs import MadeUpRuns


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> MadeUpRuns:
    return MadeUpRuns(tmp_path_factory.mktemp("cards")).write()


@pytest.fixture(scope="module")
def data(made_up: MadeUpRuns) -> ReportData:
    return report_data(made_up)


@pytest.fixture(scope="module")
def cards(data: ReportData) -> list[ImageCard]:
    baseline = data.p_class(data.models[0], "baseline").argmax(axis=1)
    return choose_cards(baseline, data.p_class(data.models[0], "makd"), data.test_labels, data.class_means.to_numpy())


def test_each_card_has_its_class_its_kind_and_what_both_arms_say(data: ReportData, cards: list[ImageCard]) -> None:
    with figure_style():
        figure = card_figure(data, cards, name="resnet10t, seed 0")
    pictures = figure.axes[0::2][:SHOWN]
    assert len(figure.axes) == 2 * SHOWN
    assert figure.get_suptitle() == "8 test images drawn at random, some of each kind; resnet10t, seed 0"
    for axes, card in zip(pictures, cards, strict=False):
        name = data.test_images["class_name"].iloc[card.row]
        assert axes.get_title("left") == f"{name}\n{card.kind}"
        expected = []
        for arm in ("baseline", "makd"):
            p = data.p_class("resnet10t", arm)[card.row]
            expected.append(f"{arm}: {data.class_names[p.argmax()]} {p.max():.0%}")
        assert axes.get_xlabel().splitlines() == expected


def test_bars_are_the_answers_of_the_student_and_of_the_teacher(data: ReportData, cards: list[ImageCard]) -> None:
    with figure_style():
        figure = card_figure(data, cards, name="x")
    for axes, card in zip(figure.axes[1::2], cards, strict=False):
        lengths = [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)]
        student, teacher = data.p_yes("resnet10t")[card.row], data.teacher_on_test[card.row]
        assert lengths == pytest.approx([*student[card.questions], *teacher[card.questions]])
        assert [label.get_text() for label in axes.get_yticklabels()] == [data.questions[q] for q in card.questions]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["student's P(yes)", "teacher's P(yes)"]


def test_the_picture_is_that_of_the_card(
    made_up: MadeUpRuns, data: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(made_up.root))
    made_up.write_pictures(made_up.root)
    expected = Image.open(made_up.root / data.test_images["path"].iloc[7]).getpixel((0, 0))
    with figure_style():
        figure = card_figure(data, [ImageCard(7, "both right", 1, [0])], name="x")
    assert np.asarray(figure.axes[0].images[0].get_array())[80, 80].tolist() == list(expected)
    assert not any(axes.get_visible() for axes in figure.axes[2:4]), "an odd card leaves its neighbour's place empty"


def test_an_image_that_nobody_was_asked_about_has_a_text_in_place_of_bars(data: ReportData, tmp_path: Path) -> None:
    with figure_style():
        figure = card_figure(data, [ImageCard(0, "both right", 1, [])], name="x")
        save_figure(figure, tmp_path / "cards.png")
    assert figure.axes[1].texts[0].get_text() == "no question was answered"
