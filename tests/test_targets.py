"""The controls and the smaller training set, on worked examples."""

import math

import numpy as np
import pandas as pd
import pytest

from makd.targets import AspectTargets, aspect_targets, keep_fraction

NAN = math.nan
P_YES = np.array([[0.1, 0.9], [0.3, NAN], [0.8, 0.4], [0.6, NAN], [0.5, 0.2]], dtype=np.float32)
LABELS = np.array([0, 0, 1, 1, 1])


def test_mllm_targets_are_the_answers() -> None:
    np.testing.assert_array_equal(aspect_targets(P_YES.copy(), LABELS, "mllm", seed=0), P_YES)


def test_class_mean_of_a_worked_example() -> None:
    # class 0: (0.1 + 0.3) / 2 and 0.9; class 1: (0.8 + 0.6 + 0.5) / 3 and (0.4 + 0.2) / 2
    expected = [[0.2, 0.9], [0.2, 0.9], [1.9 / 3, 0.3], [1.9 / 3, 0.3], [1.9 / 3, 0.3]]
    got = aspect_targets(P_YES.copy(), LABELS, "class_mean", seed=0)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_class_mean_of_a_class_without_answers_is_no_answer() -> None:
    p_yes = np.array([[NAN], [NAN], [0.5]], dtype=np.float32)
    got = aspect_targets(p_yes.copy(), np.array([0, 0, 1]), "class_mean", seed=0)
    np.testing.assert_array_equal(got, p_yes)


def test_a_few_answers_serve_their_whole_class() -> None:
    p_yes, labels = many(40)
    p_yes[8:] = NAN  # two images of each class are left
    got = aspect_targets(p_yes.copy(), labels, "class_mean", seed=0)
    for label in range(4):
        np.testing.assert_allclose(got[labels == label], np.tile(p_yes[:8][labels[:8] == label].mean(axis=0), (10, 1)))


@pytest.mark.parametrize("kind", ["mllm", "random", "shuffled"])
def test_images_that_were_not_asked_have_no_target(kind: AspectTargets) -> None:
    p_yes, labels = many(40)
    p_yes[8:] = NAN
    got = aspect_targets(p_yes.copy(), labels, kind, seed=0)
    assert np.isnan(got[8:]).all()
    assert not np.isnan(got[:8]).any()


def many(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Two questions, whose logits are normal with means -1 and 2 and deviations 0.5 and 3."""
    logits = np.random.default_rng(1).normal([-1, 2], [0.5, 3], (n, 2))
    return (1 / (1 + np.exp(-logits))).astype(np.float32), np.arange(n) % 4


def test_random_targets_have_mean_and_deviation_of_the_teachers_logits_by_question() -> None:
    p_yes, labels = many()
    drawn = aspect_targets(p_yes.copy(), labels, "random", seed=0).astype(np.float64)
    logits = np.log(drawn / (1 - drawn))
    np.testing.assert_allclose(logits.mean(axis=0), [-1, 2], atol=0.15)
    np.testing.assert_allclose(logits.std(axis=0), [0.5, 3], rtol=0.05)


def test_random_targets_know_neither_the_image_nor_its_class() -> None:
    p_yes, labels = many()
    drawn = aspect_targets(p_yes.copy(), labels, "random", seed=0)
    assert abs(np.corrcoef(drawn[:, 0], p_yes[:, 0])[0, 1]) < 0.05
    assert np.ptp(pd.DataFrame(drawn).groupby(labels).mean()[0]) < 0.02
    assert len(np.unique(drawn[:, 0])) > 3900  # one draw an image, not one a class


def test_random_targets_stay_finite_where_the_teacher_is_certain() -> None:
    p_yes = np.array([[0.0, 1.0], [1.0, 1.0], [0.5, NAN]], dtype=np.float32)
    drawn = aspect_targets(p_yes.copy(), np.zeros(3, dtype=np.int64), "random", seed=0)
    np.testing.assert_array_equal(np.isnan(drawn), np.isnan(p_yes))
    assert ((drawn >= 0) & (drawn <= 1))[~np.isnan(p_yes)].all()


def test_shuffled_rows_move_whole_and_within_their_class() -> None:
    p_yes, labels = many(40)
    got = aspect_targets(p_yes.copy(), labels, "shuffled", seed=0)
    assert not np.array_equal(got, p_yes)
    for label in range(4):
        assert sorted(map(tuple, got[labels == label])) == sorted(map(tuple, p_yes[labels == label]))


@pytest.mark.parametrize("kind", ["random", "shuffled"])
def test_controls_repeat_for_a_seed_and_differ_between_seeds(kind: AspectTargets) -> None:
    p_yes, labels = many(40)
    first, again, other = (aspect_targets(p_yes.copy(), labels, kind, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def images(**per_class: int) -> pd.DataFrame:
    names = [(label, f"{name}-{i}") for label, (name, n) in enumerate(per_class.items()) for i in range(n)]
    return pd.DataFrame(names, columns=["label", "image_id"])


def test_fractions_are_nested() -> None:
    rows = images(a=50, b=20, c=7)
    kept: set[str] = set()
    for fraction in (0.05, 0.1, 0.4, 0.41, 0.6, 1.0):
        more = set(keep_fraction(rows, fraction, seed=0)["image_id"])
        assert kept <= more
        kept = more
    assert kept == set(rows["image_id"])


def test_fraction_is_the_same_in_every_class_and_never_nothing() -> None:
    rows = images(a=50, b=20, c=1)
    assert list(keep_fraction(rows, 0.4, seed=0)["label"].value_counts().sort_index()) == [20, 8, 1]
    assert list(keep_fraction(rows, 0.001, seed=0)["label"].value_counts().sort_index()) == [1, 1, 1]


def test_fraction_keeps_the_order_and_does_not_depend_on_it() -> None:
    rows = images(a=50, b=20)
    kept = keep_fraction(rows, 0.3, seed=0)
    assert kept.index.is_monotonic_increasing
    shuffled = keep_fraction(rows.sample(frac=1, random_state=0), 0.3, seed=0)
    assert set(shuffled["image_id"]) == set(kept["image_id"])
    assert set(keep_fraction(rows, 0.3, seed=1)["image_id"]) != set(kept["image_id"])


def test_fraction_of_a_class_does_not_depend_on_the_other_classes() -> None:
    alone = keep_fraction(images(a=50), 0.3, seed=0)
    beside = keep_fraction(images(a=50, b=20), 0.3, seed=0)
    assert set(alone["image_id"]) == set(beside.loc[beside["label"] == 0, "image_id"])


def test_the_same_picture_twice_does_not_blow_the_quota() -> None:
    rows = images(a=10).assign(image_id="same")
    assert len(keep_fraction(rows, 0.5, seed=0)) == 5
