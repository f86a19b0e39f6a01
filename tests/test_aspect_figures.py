import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from makd.aspect_figures import WARNING, class_figure, questions_figure
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
            "auc_resnet18": rng.uniform(0.5, 1, n_questions),
            "auc_resnet34": rng.uniform(0.5, 1, n_questions),
        }
    )
    return made_up.assign(**columns)


def test_questions_figure_shows_the_truth_and_each_student() -> None:
    with figure_style():
        figure = questions_figure(table(5), 100, 50)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["teacher against truth", "resnet18 against teacher", "resnet34 against teacher"]
    assert figure.axes[1].lines[1].get_xdata() == pytest.approx(table(5)["auc_resnet18"])


@pytest.mark.parametrize("auc", [0.5, 0.97, np.nan])
def test_the_axis_of_the_auc_is_the_same_whatever_the_values(auc: float) -> None:
    with figure_style():
        figure = questions_figure(table(3, truth_auc=auc, auc_resnet18=auc, auc_resnet34=auc), 100, 50)
    assert figure.axes[1].get_xlim() == (-0.03, 1.03)


def test_an_unknown_truth_is_not_drawn() -> None:
    with figure_style():
        figure = questions_figure(table(5, truth_auc=np.nan), 100, 50)
    assert len(figure.legends[0].get_texts()) == 2


def test_without_any_auc_there_is_a_text_in_place_of_a_legend() -> None:
    nothing = {"truth_auc": np.nan, "auc_resnet18": np.nan, "auc_resnet34": np.nan}
    with figure_style():
        figure = questions_figure(table(5, **nothing), 100, 50)
    assert not figure.legends
    assert figure.axes[1].texts[0].get_text() == "nothing to compare the answers with"


def test_a_constant_question_is_marked() -> None:
    with figure_style():
        figure = questions_figure(table(3, constant=[False, True, False]), 100, 50)
    labels = figure.axes[0].get_yticklabels()
    assert [to_hex(label.get_color()).upper() == WARNING for label in labels] == [False, True, False]
    assert [text.get_text() for text in figure.axes[0].texts] == ["constant"]


def test_long_questions_are_cut() -> None:
    with figure_style():
        figure = questions_figure(table(12), 100, 50)
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
