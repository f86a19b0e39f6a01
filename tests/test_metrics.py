import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn.metrics import f1_score

from makd.metrics import (
    accuracy_percent,
    between_class_share,
    compare_arms,
    correct,
    gap_interval,
    macro_f1_percent,
    mean_and_std,
    most_telling,
    paired_p_value,
)


def test_correct_is_the_argmax_over_the_class_outputs_and_the_first_of_equal_ones() -> None:
    scores = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]])
    assert list(correct(scores, np.array([1, 1, 0]))) == [True, False, True]


def test_accuracy_is_in_percent_and_nan_without_images() -> None:
    assert list(accuracy_percent(np.array([[True, False], [True, True]]))) == [50, 100]
    assert np.isnan(accuracy_percent(np.empty((2, 0), dtype=bool))).all()


def test_gap_is_taken_seed_by_seed() -> None:
    baseline = np.array([[True, False, False, False], [True, True, False, False]])
    makd = np.array([[True, True, False, False], [True, True, True, True]])
    comparison = compare_arms(baseline, makd, 100)
    assert list(comparison.gap) == [25, 50]
    assert mean_and_std(comparison.gap) == pytest.approx((37.5, np.std([25, 50], ddof=1)))


def test_one_seed_has_a_mean_and_no_deviation() -> None:
    mean, std = mean_and_std(np.array([61.0]))
    assert mean == 61
    assert np.isnan(std)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_interval_is_the_paired_bootstrap_over_images(n_seeds: int) -> None:
    rng = np.random.default_rng(0)
    baseline, makd = rng.random((n_seeds, 500)) < 0.55, rng.random((n_seeds, 500)) < 0.62
    of_images = 100 * (makd.astype(float) - baseline).mean(axis=0)
    expected = bootstrap((of_images,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    assert gap_interval(baseline, makd, 20000) == pytest.approx(tuple(expected), abs=0.25)


def test_interval_is_paired() -> None:
    """Where both arms are right on the same images there is nothing to draw, however uncertain each accuracy is."""
    right = np.random.default_rng(0).random((2, 100)) < 0.5
    assert gap_interval(right, right, 1000) == (0, 0)


def test_interval_is_the_same_each_time_and_nan_without_images() -> None:
    rng = np.random.default_rng(0)
    baseline, makd = rng.random((2, 50)) < 0.5, rng.random((2, 50)) < 0.6
    assert gap_interval(baseline, makd, 1000) == gap_interval(baseline, makd, 1000)
    assert np.isnan(gap_interval(baseline[:, :0], makd[:, :0], 1000)).all()


def right(*runs: tuple[int, bool]) -> np.ndarray:
    """One seed: so many images, right or wrong, and so on."""
    return np.concatenate([np.full(n, value) for n, value in runs])[None]


def test_p_is_that_of_mcnemars_exact_test() -> None:
    """Worked: 10 images that makd alone gets right, 3 that the baseline alone does; 2 P(X <= 3 | 13, 1/2) = 0.0923."""
    baseline = right((10, False), (3, True), (20, True), (7, False))
    makd = right((10, True), (3, False), (20, True), (7, False))
    assert paired_p_value(baseline, makd) == pytest.approx(2 * (1 + 13 + 78 + 286) / 2**13)
    assert paired_p_value(baseline, makd) == pytest.approx(2 * binom.cdf(3, 13, 0.5))
    assert paired_p_value(makd, baseline) == paired_p_value(baseline, makd)


def test_of_several_seeds_each_image_has_one_vote_however_many_seeds_differ() -> None:
    """By hand: makd is better on images 0 to 4 (in one seed or three), worse on 5; seeds that cancel are a tie."""
    makd = np.zeros((3, 8), dtype=bool)
    baseline = makd.copy()
    makd[0, :5] = makd[:, 0] = makd[1, 1] = True
    baseline[:2, 5] = True
    makd[0, 6] = baseline[1, 6] = True
    assert paired_p_value(baseline, makd) == pytest.approx(2 * (1 + 6) / 2**6)
    assert paired_p_value(np.repeat(baseline, 4, axis=0), np.repeat(makd, 4, axis=0)) == paired_p_value(baseline, makd)


def test_p_is_one_where_the_arms_never_differ_or_differ_equally_often_and_nan_without_images() -> None:
    assert paired_p_value(right((5, True)), right((5, True))) == 1
    assert paired_p_value(right((4, True), (4, False)), right((4, False), (4, True))) == 1
    assert np.isnan(paired_p_value(np.empty((2, 0), dtype=bool), np.empty((2, 0), dtype=bool)))


def test_p_of_arms_that_are_equally_good_is_small_as_rarely_as_it_says() -> None:
    rng = np.random.default_rng(0)
    p = [paired_p_value(rng.random((3, 60)) < 0.6, rng.random((3, 60)) < 0.6) for _ in range(400)]
    assert 0 < np.mean(np.array(p) <= 0.05) <= 0.075


def test_macro_f1_is_that_of_scikit_learn_where_every_class_has_an_image() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    assert macro_f1_percent(predicted, labels) == pytest.approx(100 * f1_score(labels, predicted, average="macro"))


@pytest.mark.filterwarnings("error")
def test_macro_f1_counts_a_class_that_is_never_predicted_as_zero_and_one_without_images_not_at_all() -> None:
    """By hand: class 0 has precision 1/2 and recall 1; class 1 is never predicted; class 2 has no image."""
    assert macro_f1_percent(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 1])) == pytest.approx(100 * (4 / 5 + 0) / 2)
    assert np.isnan(macro_f1_percent(np.array([], dtype=int), np.array([], dtype=int)))


def test_comparison_holds_the_p_and_the_interval_of_its_arms() -> None:
    rng = np.random.default_rng(0)
    baseline, makd = rng.random((2, 50)) < 0.5, rng.random((2, 50)) < 0.7
    comparison = compare_arms(baseline, makd, 200)
    assert comparison.p_value == paired_p_value(baseline, makd)
    assert (comparison.gap_low, comparison.gap_high) == gap_interval(baseline, makd, 200)


def test_between_class_share_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    p_yes = np.array(
        [
            # the class alone; nothing of it; half: between (1/4)^2, total that plus (1/4)^2; NaN left out
            [0.1, 0.2, 0.0, 0.1],
            [0.1, 0.8, 0.5, np.nan],
            [0.9, 0.2, 0.5, 0.9],
            [0.9, 0.8, 1.0, 0.9],
        ]
    )
    assert between_class_share(p_yes, labels) == pytest.approx([1, 0, 0.5, 1])


def test_between_class_share_is_r_squared_of_the_class_means() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 300)
    p_yes = rng.random((300, 3)).astype(np.float32)
    one_hot = np.eye(5)[labels]
    fitted = one_hot @ np.linalg.lstsq(one_hot, p_yes, rcond=None)[0]
    assert between_class_share(p_yes, labels) == pytest.approx(1 - (p_yes - fitted).var(0) / p_yes.var(0), abs=1e-5)


def test_between_class_share_of_a_constant_or_unanswered_question_is_nan() -> None:
    p_yes = np.full((100, 2), [0.1, np.nan]) + 1e-9 * np.arange(100)[:, None]  # constant but for rounding
    assert np.isnan(between_class_share(p_yes, np.arange(100) % 3)).all()


def test_between_class_share_of_a_single_class_is_zero() -> None:
    assert between_class_share(np.array([[0.1], [0.9]]), np.array([0, 0])) == pytest.approx([0])


def test_most_telling_question_has_the_widest_class_means_not_the_highest_share() -> None:
    labels = np.array([0, 0, 1, 1])
    p_yes = np.array([[np.nan, 0.50, 0.1], [np.nan, 0.50, 0.3], [np.nan, 0.52, 0.8], [np.nan, 0.52, 1.0]])
    assert most_telling(p_yes, labels) == 2
    assert most_telling(p_yes[:, :1], labels) == 0
