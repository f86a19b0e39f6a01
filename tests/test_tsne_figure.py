from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from makd.embedding import embed, sample
from makd.embedding_table import TEACHER, embed_all
from makd.figures import figure_style, save_figure
from makd.tsne_figure import class_look, shown_classes, tsne_figure


def draw(
    n_images: int, n_questions: int, n_classes: int, *, teacher: float | None = None, at_most: int = 100
) -> Figure:
    rng = np.random.default_rng(0)
    p_yes = rng.random((n_images, n_questions)).astype(np.float32)
    answers = p_yes if teacher is None else np.full_like(p_yes, teacher)
    names = [f"_class {label}" for label in range(n_classes)]
    questions = [f"Is it ${number} or $5?" for number in range(n_questions)]
    labels = np.arange(n_images) % n_classes
    with figure_style():
        by_source = {TEACHER: answers, "another": answers, "resnet18": p_yes}
        embeddings = embed_all(by_source, at_most=at_most, perplexity=30.0)
        return tsne_figure(embeddings, by_source, labels, names, questions, student="resnet18", name="resnet18, seed 3")


def n_points(axes: Any) -> int:
    return len(axes.collections[1].get_offsets())


def test_student_and_teacher_are_shown_on_the_same_images() -> None:
    figure = draw(60, 4, 3, at_most=25)
    student, teacher = figure.axes[0], figure.axes[1]
    assert (student.get_title(), teacher.get_title()) == ("student: resnet18, seed 3", "teacher")
    assert [n_points(axes) for axes in (student, teacher)] == [25, 25]
    assert figure.get_suptitle() == "t-SNE of the aspect logits, 25 of 60 test images"
    assert draw(6, 4, 3).get_suptitle() == "t-SNE of the aspect logits, 6 test images"
    colours = [np.asarray(axes.collections[1].get_array()) for axes in (student, teacher)]
    assert np.array_equal(colours[0], colours[1])


def test_each_point_has_the_place_and_the_colour_of_its_image() -> None:
    p_yes, chosen = np.random.default_rng(0).random((60, 4)).astype(np.float32), sample(60, 25)
    drawn = draw(60, 4, 3, at_most=25).axes[0].collections[1]
    assert np.asarray(drawn.get_offsets()) == pytest.approx(embed(p_yes[chosen], 30.0).points)
    shown = np.asarray(drawn.get_array())
    assert any(np.array_equal(shown, p_yes[chosen, question]) for question in range(4))


def test_an_image_without_an_answer_has_no_point_and_the_title_says_so() -> None:
    p_yes = np.random.default_rng(0).random((30, 4))
    gaps = p_yes.copy()
    gaps[:7] = np.nan
    by_source, names = {TEACHER: gaps, "resnet18": p_yes}, ["a", "b", "c"]
    embeddings = embed_all(by_source, at_most=100, perplexity=5.0)
    questions = ["Q?"] * 4
    figure = tsne_figure(embeddings, by_source, np.arange(30) % 3, names, questions, student="resnet18", name="s")
    student, teacher, _, by_class = figure.axes[:4]
    assert (student.get_title(), teacher.get_title()) == (
        "student: s",
        "teacher: 23 of them, the others have no answer",
    )
    assert [n_points(axes) for axes in (student, teacher)] == [30, 23]
    drawn: list[Any] = list(by_class.collections)
    assert sum(len(one.get_offsets()) for one in drawn) == 23


def test_dollars_in_a_question_are_no_formula() -> None:
    label = draw(30, 4, 3).axes[-1].yaxis.label
    assert label.get_text().count("$") == 2
    assert not label.get_parse_math()


def test_the_legend_names_the_classes_with_a_leading_underscore_too() -> None:
    assert [text.get_text() for text in draw(30, 4, 3).legends[0].get_texts()] == [
        " _class 0",
        " _class 1",
        " _class 2",
    ]


def test_of_many_classes_some_have_a_colour_and_the_legend_says_so() -> None:
    legend = draw(90, 4, 30).legends[0]
    assert len(legend.get_texts()) == 20
    assert legend.get_title().get_text() == "20 of 30 classes in colour"


def test_shown_classes_are_spread_over_those_present() -> None:
    assert list(shown_classes(np.array([4, 2, 2]))) == [2, 4]
    spread = shown_classes(np.arange(200))
    assert (len(set(spread)), spread[0], spread[-1]) == (20, 0, 199)


def test_no_two_shown_classes_look_alike() -> None:
    assert len({tuple(class_look(position).items()) for position in range(20)}) == 20


@pytest.mark.parametrize(("n_images", "n_questions", "n_classes"), [(6, 3, 2), (6, 1, 1), (2, 1, 1), (1, 3, 1)])
def test_the_smallest_sets_are_drawn_or_skipped_but_do_not_fail(
    n_images: int, n_questions: int, n_classes: int, tmp_path: Path
) -> None:
    figure = draw(n_images, n_questions, n_classes)
    with figure_style():
        save_figure(figure, tmp_path / "tsne.png")
    skipped = any("skipped: too few images" in text.get_text().replace("\n", " ") for text in figure.axes[0].texts)
    assert skipped == (n_images < 5)


@pytest.mark.parametrize(("teacher", "reason"), [(np.nan, "no answers"), (0.25, "the same answers")])
def test_a_teacher_that_says_nothing_is_skipped_and_the_student_shown(teacher: float, reason: str) -> None:
    figure = draw(30, 3, 3, teacher=teacher)
    assert reason in figure.axes[1].texts[0].get_text().replace("\n", " ")
    assert n_points(figure.axes[0]) == 30
