import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss
from torch.nn.functional import binary_cross_entropy

from makd.agreement import (
    agreement,
    auc,
    calibration,
    mean_or_nan,
    question_accuracy,
    question_auc,
    question_spearman,
    true_answers,
)
from makd.errors import UserError


def test_auc_is_the_share_of_pairs_in_the_right_order_with_ties_counted_half() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.4
    above, below = scores[positive][:, None], scores[~positive][None]
    assert auc(scores, positive) == pytest.approx(((above > below) + 0.5 * (above == below)).mean())


@pytest.mark.parametrize("side", [True, False])
def test_auc_needs_both_sides(side: bool) -> None:
    assert np.isnan(auc(np.array([0.2, 0.4]), np.array([side, side])))


def test_question_auc_leaves_nan_out_on_either_side() -> None:
    scores = np.array([[0.1], [0.9], [0.2], [np.nan]])
    reference = np.array([[0.2], [0.8], [np.nan], [0.9]])
    assert question_auc(scores, reference) == pytest.approx([1.0])


def test_the_teacher_says_which_images_are_positive_and_the_student_how_they_rank() -> None:
    student, teacher = np.array([[0.1], [0.2], [0.3], [0.4]]), np.array([[0.2], [0.8], [0.3], [0.9]])
    assert agreement(student, teacher).auc == pytest.approx([0.75])  # 0.2 and 0.4 against 0.1 and 0.3


def test_a_half_is_no_yes() -> None:
    assert np.isnan(question_auc(np.array([[0.1], [0.9]]), np.array([[0.5], [0.2]]))).all()
    assert question_accuracy(np.array([[0.5]]), np.array([[0.0]])) == pytest.approx([100])


def test_kl_is_the_bce_minus_the_entropy_of_the_teacher() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.random((40, 3)), rng.random((40, 3))
    teacher[0, 0], teacher[1, 1] = 0.0, 1.0
    p, q = torch.tensor(teacher), torch.tensor(student)
    found = agreement(student, teacher)
    expected = binary_cross_entropy(q, p) - binary_cross_entropy(p, p)
    assert found.overall(found.kl_nats) == pytest.approx(expected.item())
    of_second = binary_cross_entropy(q[:, 1], p[:, 1]) - binary_cross_entropy(p[:, 1], p[:, 1])
    assert found.kl_nats[1] == pytest.approx(of_second.item())


def test_differences_are_means_over_the_images_of_a_question() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.random((40, 3)), rng.random((40, 3))
    found = agreement(student, teacher)
    assert found.abs_diff == pytest.approx(np.abs(student - teacher).mean(axis=0))
    assert found.brier == pytest.approx(((student - teacher) ** 2).mean(axis=0))


def test_brier_score_of_a_teacher_who_is_sure_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.random((40, 1)), (rng.random((40, 1)) < 0.5).astype(float)
    assert agreement(student, teacher).brier == pytest.approx([brier_score_loss(teacher[:, 0], student[:, 0])])


def test_a_perfect_student_is_at_zero() -> None:
    teacher = np.random.default_rng(0).uniform(0.01, 0.99, (30, 2)).astype(np.float32)
    perfect = agreement(teacher, teacher)
    for measure in (perfect.abs_diff, perfect.kl_nats, perfect.brier):
        assert measure == pytest.approx([0, 0], abs=1e-12)
    assert perfect.auc == pytest.approx([1, 1])
    assert perfect.spearman == pytest.approx([1, 1])


def test_a_saturated_student_has_a_finite_kl() -> None:
    assert agreement(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]])).kl_nats == pytest.approx([-np.log(1e-6)])


@pytest.mark.filterwarnings("error")
def test_unanswered_pairs_count_nowhere() -> None:
    student, teacher = np.array([[0.2, 0.9], [0.7, 0.1]]), np.array([[0.3, np.nan], [0.6, np.nan]])
    found = agreement(student, teacher)
    assert list(found.answers) == [2, 0]
    assert found.abs_diff == pytest.approx([0.1, np.nan], nan_ok=True)
    assert found.overall(found.abs_diff) == pytest.approx(0.1)
    for measure in (found.auc, found.spearman):
        assert measure == pytest.approx([1, np.nan], nan_ok=True)
    nothing = agreement(student[:, 1:], teacher[:, 1:])
    assert np.isnan([nothing.overall(nothing.abs_diff), nothing.overall(nothing.kl_nats)]).all()


def test_overall_weighs_questions_by_their_answers() -> None:
    """Three answers off by 0.1 and one off by 0.5: 0.2, not 0.3."""
    student = np.full((3, 2), 0.5)
    teacher = np.array([[0.6, 1.0], [0.4, np.nan], [0.6, np.nan]])
    found = agreement(student, teacher)
    assert found.overall(found.abs_diff) == pytest.approx(0.2)


def test_spearman_is_that_of_scipy_with_ties_and_nulls() -> None:
    rng = np.random.default_rng(0)
    teacher = rng.integers(0, 5, (60, 4)) / 4
    student = 0.3 * teacher + 0.1 * rng.integers(0, 6, (60, 4))
    teacher[rng.random(teacher.shape) < 0.2] = np.nan
    found = question_spearman(student, teacher)
    for question in range(4):
        there = ~np.isnan(teacher[:, question])
        expected = spearmanr(student[there, question], teacher[there, question]).statistic
        assert found[question] == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_spearman_is_nan_where_either_says_always_the_same() -> None:
    varied, constant, single = [0.1, 0.5, 0.9], [0.3, 0.3, 0.3], [np.nan, 0.4, np.nan]
    student = np.array([varied, constant, varied]).T
    teacher = np.array([constant, varied, single]).T
    assert np.isnan(question_spearman(student, teacher)).all()


def test_calibration_by_hand() -> None:
    student = np.array([[0.0, 0.04], [0.1, 0.55], [1.0, 0.96], [0.99, 0.2]])
    teacher = np.array([[0.0, 0.3], [1.0, 0.5], [1.0, 0.4], [0.7, np.nan]])
    found = calibration(student, teacher).set_index("tenth")
    assert list(found.index) == list(range(1, 11))
    assert found["answers"].tolist() == [2, 1, 0, 0, 0, 1, 0, 0, 0, 3]  # a bound belongs to the tenth above it, 1 to 10
    assert found.loc[1, ["student", "teacher"]].tolist() == pytest.approx([0.02, 0.15])
    assert found.loc[2, ["student", "teacher"]].tolist() == pytest.approx([0.1, 1.0])
    assert found.loc[6, ["student", "teacher"]].tolist() == pytest.approx([0.55, 0.5])
    assert found.loc[10, ["student", "teacher"]].tolist() == pytest.approx([2.95 / 3, 0.7])
    assert found.loc[3, ["student", "teacher"]].isna().all()


@pytest.mark.filterwarnings("error")
def test_calibration_without_answers_has_ten_empty_tenths() -> None:
    found = calibration(np.array([[0.5]], np.float32), np.array([[np.nan]], np.float32))
    assert found["answers"].tolist() == [0] * 10
    assert found["teacher"].isna().all()


def test_question_accuracy_is_in_percent_of_what_can_be_compared() -> None:
    p_yes = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, np.nan], [np.nan, np.nan]])
    truth = np.array([[1, np.nan], [0, np.nan], [0, 1], [1, 1]])
    assert question_accuracy(p_yes, truth) == pytest.approx([200 / 3, np.nan], nan_ok=True)


def test_mean_or_nan() -> None:
    assert mean_or_nan(np.array([1.0, np.nan, 3.0])) == 2
    assert np.isnan(mean_or_nan(np.array([np.nan])))


@pytest.fixture
def facts(tmp_path: Path) -> tuple[Path, Path]:
    names = {"Has it a crest?": "crest", "Is it bald?": "not crest"}
    (tmp_path / "facts.json").write_text(json.dumps(names))
    pd.DataFrame({"path": ["a.png", "b.png"], "crest": [True, False]}).to_parquet(tmp_path / "attributes.parquet")
    return tmp_path / "facts.json", tmp_path / "attributes.parquet"


def test_truth_is_known_where_question_and_image_are(facts: tuple[Path, Path]) -> None:
    truth = true_answers(
        *facts, pd.Series(["b.png", "c.png", "a.png"]), ["Is it bald?", "Can it sing?", "Has it a crest?"]
    )
    expected = [[1, np.nan, 0], [np.nan, np.nan, np.nan], [0, np.nan, 1]]
    assert truth == pytest.approx(np.array(expected), nan_ok=True)


def test_a_fact_that_the_attributes_lack_is_named(facts: tuple[Path, Path]) -> None:
    facts[0].write_text(json.dumps({"Has it a crest?": "crset"}))
    with pytest.raises(UserError, match="'crset'"):
        true_answers(*facts, pd.Series(["a.png"]), ["Has it a crest?"])
