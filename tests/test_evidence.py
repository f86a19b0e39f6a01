import numpy as np
import pytest

from makd.evidence import LEAST, class_answer_means, evidence, log_likelihoods


def test_class_means_count_one_image_more_with_the_answers_of_all() -> None:
    p_yes = np.array([[1.0, 0.0], [0.8, np.nan], [0.0, np.nan]])
    means = class_answer_means(p_yes, np.array([0, 0, 1]), 3)
    overall = 1.8 / 3
    assert means[:, 0] == pytest.approx([(1.8 + overall) / 3, overall / 2, overall])
    assert means[:, 1] == pytest.approx([LEAST] * 3)


def test_class_means_of_answers_that_are_all_the_same_keep_off_0_and_1() -> None:
    means = class_answer_means(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), 2)
    assert means.tolist() == [[1 - LEAST, LEAST]] * 2


def test_a_question_without_answers_says_nothing() -> None:
    means = class_answer_means(np.full((2, 1), np.nan), np.array([0, 1]), 2)
    assert means.tolist() == [[0.5], [0.5]]
    assert evidence(np.array([0.9]), means[0], means[1]).tolist() == [0]


def test_evidence_is_the_ratio_worked_out_by_hand() -> None:
    favoured, rival = np.array([0.8, 0.2]), np.array([0.4, 0.2])
    found = evidence(np.array([1.0, 0.3]), favoured, rival)
    assert found == pytest.approx([np.log(2), 0])
    assert evidence(np.array([0.25, 0.3]), favoured, rival)[0] == pytest.approx(
        0.25 * np.log(2) + 0.75 * np.log(0.2 / 0.6)
    )


def test_sums_of_the_evidence_are_differences_of_the_likelihoods() -> None:
    rng = np.random.default_rng(0)
    p_yes, means = rng.random((4, 6)), rng.uniform(LEAST, 1 - LEAST, (3, 6))
    likelihoods = log_likelihoods(p_yes, means)
    for image in range(4):
        total = evidence(p_yes[image], means[2], means[0]).sum()
        assert total == pytest.approx(likelihoods[image, 2] - likelihoods[image, 0])
        assert evidence(p_yes[image], means[0], means[2]).sum() == pytest.approx(-total)
    p_yes[0, 3] = np.nan
    left = np.delete(np.arange(6), 3)
    assert log_likelihoods(p_yes, means)[0] == pytest.approx(log_likelihoods(p_yes[:, left], means[:, left])[0])
