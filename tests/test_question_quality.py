"""Against scikit-learn and SciPy, or worked by hand."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway, pearsonr
from sklearn.metrics import mutual_info_score

from makd import question_quality as quality_module
from makd.question_quality import class_information, class_share_p, question_quality
from makd.tables import question_table

NAN = np.nan


def with_nulls(p_yes: np.ndarray, share: float = 0.2) -> np.ndarray:
    found = p_yes.copy()
    found[np.random.default_rng(5).random(p_yes.shape) < share] = NAN
    return found


@pytest.fixture
def soft() -> tuple[np.ndarray, np.ndarray]:
    """Soft answers to six questions about 80 images of four unequal classes, some of them null."""
    rng = np.random.default_rng(0)
    labels = rng.choice(4, size=80, p=[0.1, 0.2, 0.3, 0.4])
    return with_nulls(np.clip(rng.random((80, 6)) * 0.7 + 0.08 * labels[:, None], 0, 1)), labels


def test_information_of_hard_answers_is_the_mutual_information_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=50)
    hard = with_nulls(np.where(rng.random((50, 5)) < 0.2, rng.integers(2, size=(50, 5)), (labels == 1)[:, None]) * 1.0)
    _, answer_entropy, found = class_information(hard, labels)
    for question, answers in enumerate(hard.T):
        there = ~np.isnan(answers)
        expected = mutual_info_score(labels[there], answers[there]) / np.log(2)
        assert found[question] == pytest.approx(expected, abs=1e-12)
        assert answer_entropy[question] == pytest.approx(
            mutual_info_score(answers[there], answers[there]) / np.log(2), abs=1e-12
        )


def test_information_of_soft_answers_is_that_of_many_draws() -> None:
    """Each image drawn a hundred times, with exactly as many yes as P(yes) says."""
    rng = np.random.default_rng(2)
    labels, percent = rng.integers(3, size=20), rng.integers(101, size=(20, 4))
    drawn = (np.arange(100)[:, None, None] < percent).reshape(2000, 4)
    _, _, found = class_information(percent / 100, labels)
    expected = [mutual_info_score(np.tile(labels, 100), one) / np.log(2) for one in drawn.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_entropies_of_a_worked_example() -> None:
    """Half the images at 0.5 (one bit) and half at 0 (none): unsure by half a bit; a drawn answer is yes in 1 of 4."""
    found = question_quality(np.array([[0.5], [0.5], [0.0], [0.0]]), np.array([0, 0, 1, 1])).iloc[0]
    quarter = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert found["entropy_bits"] == pytest.approx(0.5)
    assert found["answer_entropy_bits"] == pytest.approx(quarter)
    assert found["class_information_bits"] == pytest.approx(quarter - 0.5)
    assert found["class_information"] == pytest.approx((quarter - 0.5) / quarter)


def test_a_null_is_no_answer_for_the_entropies() -> None:
    some = np.array([[0.5], [NAN], [0.0], [NAN], [0.25]])
    pd.testing.assert_frame_equal(
        question_quality(some, np.array([0, 0, 1, 1, 1])),
        question_quality(some[~np.isnan(some[:, 0])], np.array([0, 1, 1])),
    )


def test_an_answer_that_is_the_class_loses_all_its_uncertainty_and_one_beside_it_none() -> None:
    labels = np.array([0, 0, 1, 1])
    found = question_quality(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), labels)
    assert list(found["class_information"]) == [1, 0]
    assert list(found["class_information_bits"]) == [1, 0]


def test_p_value_is_that_of_scipy(soft: tuple[np.ndarray, np.ndarray]) -> None:
    p_yes, labels = soft
    found = class_share_p(p_yes, labels)
    for question, answers in enumerate(p_yes.T):
        groups = [answers[(labels == label) & ~np.isnan(answers)] for label in range(4)]
        assert found[question] == pytest.approx(f_oneway(*groups).pvalue, rel=1e-9)
    assert found.min() < 0.01 < found.max()


def test_p_value_counts_only_the_classes_that_have_answers() -> None:
    answers = np.array([0.1, 0.3, 0.2, 0.6, 0.4, NAN, NAN])[:, None]
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    assert class_share_p(answers, labels)[0] == pytest.approx(f_oneway([0.1, 0.3, 0.2], [0.6, 0.4]).pvalue)


@pytest.mark.parametrize(
    ("answers", "labels", "expected"),
    [
        ([0.1, 0.2, 0.9], [0, 0, 0], NAN),  # one class
        ([0.1, 0.2, 0.9], [0, 1, 2], NAN),  # an image a class: nothing within
        ([0.4, 0.4, 0.4], [0, 0, 1], NAN),  # nothing varies
        ([NAN, NAN, NAN], [0, 0, 1], NAN),
        ([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], 0),  # the class says it all
        ([0.0, 1.0, 0.0, 1.0], [0, 0, 1, 1], 1),  # equal means
    ],
)
def test_p_value_at_the_edges(answers: list[float], labels: list[int], expected: float) -> None:
    found = class_share_p(np.array(answers)[:, None], np.array(labels))
    np.testing.assert_allclose(found, [expected], atol=1e-12)


def test_closest_is_the_greatest_r_in_size_over_the_images_with_both_answers(
    soft: tuple[np.ndarray, np.ndarray],
) -> None:
    p_yes, labels = soft
    p_yes = np.column_stack([p_yes, 1 - 0.5 * p_yes[:, 2] + 0.02 * np.sin(np.arange(80))])
    found = question_quality(p_yes, labels)
    for question in range(7):
        by_r = []
        for other in set(range(7)) - {question}:
            both = ~np.isnan(p_yes[:, [question, other]]).any(axis=1)
            by_r.append((pearsonr(p_yes[both, question], p_yes[both, other]).statistic, other + 1))
        expected = max(by_r, key=lambda pair: abs(pair[0]))
        assert found.loc[question, "closest_question"] == expected[1]
        assert found.loc[question, "closest_r"] == pytest.approx(expected[0], abs=1e-12)
    assert found.loc[6, "closest_r"] < -0.95
    complete = question_quality(np.nan_to_num(p_yes), labels)
    corrcoef = np.corrcoef(np.nan_to_num(p_yes).T) - np.eye(7)
    np.testing.assert_allclose(complete["closest_r"].abs(), np.abs(corrcoef).max(axis=0), atol=1e-12)


def test_of_equally_close_questions_the_better_ranked_is_named() -> None:
    line = np.linspace(0, 1, 9)
    found = question_quality(np.column_stack([line, 1 - line, line, line]), np.arange(9) % 3)
    assert list(found["closest_question"]) == [2, 1, 1, 1]
    np.testing.assert_allclose(found["closest_r"], [-1, -1, 1, 1])


def test_the_later_of_two_is_redundant_with_the_closest_better_one() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 20)
    one = np.clip(0.7 * labels + 0.3 * rng.random(40), 0, 1)
    other = rng.random(40)
    near = 1 - (one + 0.05 * other)
    p_yes = np.column_stack([one, other, near, one, 0.5 + 0.01 * other])
    r = np.corrcoef(one, near)[0, 1]
    assert -1 < r < -0.95
    flags = list(question_quality(p_yes, labels)["flags"])
    assert flags[0] == ""
    assert flags[1] == "tells nothing about the class"
    assert flags[2] == f"redundant with 1 (r = {r:.2f})"
    assert flags[3] == "redundant with 1 (r = 1.00)", "and not with the third, which is less close"
    assert flags[4] == "constant", "whatever it is close to"


def test_redundant_and_telling_nothing_are_both_said() -> None:
    noise = np.random.default_rng(0).random(40)
    found = question_quality(np.column_stack([noise, noise]), np.arange(40) % 2)
    assert list(found["flags"]) == [
        "tells nothing about the class",
        "redundant with 1 (r = 1.00); tells nothing about the class",
    ]


@pytest.mark.parametrize(("step", "flag"), [(0.08, "tells nothing about the class"), (0.14, "")])
def test_a_sure_difference_of_classes_must_also_be_worth_something(step: float, flag: str) -> None:
    """With 2,000 images any difference is sure; at 0.46 against 0.54 the class takes away half a per cent."""
    labels = np.arange(2000) % 2
    noise = np.tile([-0.05, -0.05, 0.05, 0.05], 500)
    found = question_quality((0.5 + step * (labels - 0.5) + noise)[:, None], labels).iloc[0]
    assert found["class_share_p"] < 1e-6
    assert found["flags"] == flag


def test_a_difference_that_may_be_chance_is_flagged_however_much_it_seems_to_tell() -> None:
    found = question_quality(np.array([[0.0], [1.0], [0.0], [0.0], [1.0]]), np.array([0, 0, 1, 1, 2])).iloc[0]
    assert found["class_information"] > 0.4
    assert found["flags"] == "tells nothing about the class"


def test_constant_is_what_the_report_calls_so() -> None:
    labels, sign = np.array([0, 1] * 10), np.tile([1, -1], 10)
    p_yes = np.column_stack([0.5 + 0.019 * sign, 0.5 + 0.021 * sign, np.full(20, 1.0)])
    found = question_quality(p_yes, labels)
    report = question_table(pd.DataFrame(p_yes, columns=list("abc")), np.full(p_yes.shape, NAN), labels, ["a", "b"])
    assert report["constant"].tolist() == [True, False, True]
    assert [flags.startswith("constant") for flags in found["flags"]] == [True, False, True]
    assert found["closest_question"].isna().all(), "r with a constant one is noise"
    assert np.isnan(found.loc[2, "class_information"]), "there is no uncertainty to take away"
    assert found.loc[2, "class_information_bits"] == 0


def test_a_question_without_answers_has_no_numbers_and_disturbs_none(soft: tuple[np.ndarray, np.ndarray]) -> None:
    p_yes, labels = soft
    found = question_quality(np.column_stack([p_yes, np.full(80, NAN)]), labels)
    pd.testing.assert_frame_equal(found.iloc[:6], question_quality(p_yes, labels))
    last = found.iloc[6]
    assert last.drop("flags").isna().all()
    assert last["flags"] == "no answers"


@pytest.mark.parametrize("n_images", [0, 1, 2])
def test_few_images_give_empty_cells_and_no_warning(n_images: int) -> None:
    p_yes = np.array([[0.2, 0.9], [0.6, 0.1]])[:n_images]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = question_quality(p_yes, np.arange(n_images))
    assert len(found) == 2
    assert found[["class_share_p", "closest_question", "closest_r"]].isna().all(axis=None), "any two lie on a line"
    if n_images == 2:
        assert found.loc[0, "class_information_bits"] == pytest.approx(
            quality_module.entropy_bits(np.array(0.4)) - found.loc[0, "entropy_bits"]
        )


def test_one_class_explains_nothing() -> None:
    found = question_quality(np.random.default_rng(0).random((30, 2)), np.zeros(30, dtype=int))
    assert list(found["class_information_bits"]) == [0, 0]
    assert found["class_share_p"].isna().all()


def test_no_question_gives_no_row() -> None:
    assert len(question_quality(np.empty((5, 0)), np.arange(5))) == 0


def test_names_of_the_classes_do_not_matter(soft: tuple[np.ndarray, np.ndarray]) -> None:
    p_yes, labels = soft
    pd.testing.assert_frame_equal(question_quality(p_yes, labels), question_quality(p_yes, 7 - 3 * labels))


def test_it_takes_single_precision(soft: tuple[np.ndarray, np.ndarray]) -> None:
    p_yes, labels = soft
    found = question_quality(p_yes.astype(np.float32), labels)
    expected = question_quality(p_yes.astype(np.float32).astype(np.float64), labels)
    pd.testing.assert_frame_equal(found, expected)


def test_a_hundred_questions_about_twelve_thousand_images_take_seconds() -> None:
    rng = np.random.default_rng(0)
    p_yes, labels = with_nulls(rng.random((12_000, 100)), 0.05), rng.integers(200, size=12_000)
    start = time.perf_counter()
    question_quality(p_yes, labels)
    assert time.perf_counter() - start < 10


def test_questions_that_cannot_be_judged_are_flagged() -> None:
    one_a_class = np.array([[0.9, np.nan], [0.1, np.nan], [0.6, np.nan]])
    assert list(question_quality(one_a_class, np.arange(3))["flags"]) == ["too few answers to judge", "no answers"]
