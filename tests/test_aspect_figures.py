from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from makd.aspect_figures import WARNING, class_figure, class_means_figure, questions_figure
from makd.figures import figure_style


def table(n_questions: int, **columns: object) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made_up = pd.DataFrame(
        {
            "rank": range(1, n_questions + 1),
            "question": [f"Is it {i}, " + "or very much like it, " * i + "at all?" for i in range(n_questions)],
            "p_yes_mean": rng.random(n_questions),
            "p_yes_std": rng.random(n_questions) / 4,
            "constant": False,
            "truth_auc": rng.uniform(0.5, 1, n_questions),
        }
    )
    return made_up.assign(**columns)


def learned(n_questions: int, **columns: object) -> pd.DataFrame:
    """The agreement table of two students, as far as it is drawn."""
    auc = np.random.default_rng(1).uniform(0.5, 1, 2 * n_questions)
    models = ["resnet34"] * n_questions + ["resnet18"] * n_questions
    return pd.DataFrame({"model": models, "auc": auc, "answers": 50}).assign(**columns)


def test_questions_figure_shows_the_truth_and_each_student() -> None:
    with figure_style():
        figure = questions_figure(table(5), learned(5), 100)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["teacher against truth", "resnet34 against teacher", "resnet18 against teacher"]
    assert figure.axes[1].lines[0].get_xdata() == pytest.approx(table(5)["truth_auc"])
    assert figure.axes[1].lines[2].get_xdata() == pytest.approx(learned(5)["auc"][5:])


@pytest.mark.parametrize(("answers", "said"), [(50, "50 test images"), ([1, 12] * 5, "1 to 12 test images")])
def test_the_axis_of_the_auc_says_how_many_images_it_is_over(answers: object, said: str) -> None:
    with figure_style():
        figure = questions_figure(table(5), learned(5, answers=answers), 100)
    assert figure.axes[1].get_xlabel().endswith(f"students on {said}")


@pytest.mark.parametrize("auc", [0.5, 0.97, np.nan])
def test_the_axis_of_the_auc_is_the_same_whatever_the_values(auc: float) -> None:
    with figure_style():
        figure = questions_figure(table(3, truth_auc=auc), learned(3, auc=auc), 100)
    assert figure.axes[1].get_xlim() == (-0.03, 1.03)


def test_an_unknown_truth_is_not_drawn() -> None:
    with figure_style():
        figure = questions_figure(table(5, truth_auc=np.nan), learned(5), 100)
    assert len(figure.legends[0].get_texts()) == 2


def test_without_any_auc_there_is_a_text_in_place_of_a_legend() -> None:
    with figure_style():
        figure = questions_figure(table(5, truth_auc=np.nan), learned(5, auc=np.nan), 100)
    assert not figure.legends
    assert figure.axes[1].texts[0].get_text() == "nothing to compare the answers with"


def test_a_constant_question_is_marked() -> None:
    with figure_style():
        figure = questions_figure(table(3, constant=[False, True, False]), learned(3), 100)
    labels = figure.axes[0].get_yticklabels()
    assert [to_hex(label.get_color()).upper() == WARNING for label in labels] == [False, True, False]
    assert [text.get_text() for text in figure.axes[0].texts] == ["constant"]


def test_long_questions_are_cut() -> None:
    with figure_style():
        figure = questions_figure(table(12), learned(12), 100)
    assert max(len(label.get_text()) for label in figure.axes[0].get_yticklabels()) <= 70 + len("  12")


def test_class_figure_has_a_cell_a_class_and_question_and_room_for_the_most_classes() -> None:
    means = pd.DataFrame(np.random.default_rng(0).random((450, 3)), columns=["a?", "b?", "c?"])
    means.index = [f"class {i}" for i in range(450)]
    with figure_style():
        figure = class_figure(means, pd.Series([False, True, False]), 9000)
    axes = figure.axes[0]
    assert np.array_equal(np.asarray(axes.images[0].get_array()), means.to_numpy().T)
    assert len(axes.get_xticks()) == 150
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == ["a?", "b?  constant", "c?"]
    assert [to_hex(label.get_color()).upper() == WARNING for label in labels] == [False, True, False]
    assert figure.get_size_inches()[0] < 31


def bars(axes: Any) -> list[float]:
    return [bar.get_height() for bar in axes.patches]


def test_class_means_figure_has_the_chosen_questions_with_the_classes_from_highest_to_lowest() -> None:
    means = pd.DataFrame({"a?": [0.2, 0.9, np.nan], "b?": [0.5, 0.5, 0.5], "c?": [0.1, 0.4, 0.3]})
    means.index = ["jay", "owl", "kite"]
    with figure_style():
        figure = class_means_figure(means, [2, 0, 1], 1200)
    first, second, third, unused = figure.axes
    assert [axes.get_title("left") for axes in (first, second, third)] == ["c?", "a?", "b?"]
    assert bars(first) == pytest.approx([0.4, 0.3, 0.1])
    assert [label.get_text() for label in first.get_xticklabels()] == ["owl", "kite", "jay"]
    assert bars(second) == pytest.approx([0.9, 0.2])
    assert [label.get_text() for label in third.get_xticklabels()] == ["jay", "owl", "kite"]  # ties: by label
    assert not unused.get_visible()
    assert "3 classes, 1,200 images" in figure.get_suptitle()


def test_of_many_classes_the_extremes_are_named() -> None:
    means = pd.DataFrame({"a?": np.linspace(0, 1, 200)}, index=[f"class {label}" for label in range(200)])
    with figure_style():
        figure = class_means_figure(means, [0], 1200)
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["highest: class 199", "lowest: class 0"]
    assert [label.get_horizontalalignment() for label in labels] == ["left", "right"]
    assert len(bars(figure.axes[0])) == 200


def test_a_question_without_answers_has_a_text_in_place_of_bars() -> None:
    with figure_style():
        figure = class_means_figure(pd.DataFrame({"a?": [np.nan, np.nan]}, index=["jay", "owl"]), [0], 0)
    assert figure.axes[0].texts[0].get_text() == "no answers"
