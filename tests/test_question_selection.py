"""Against the definition, image by image, and worked by hand."""

import itertools
import time

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from makd import question_selection
from makd.question_selection import PSEUDO_IMAGES, information, rank_by_information

NAN = np.nan
SMALL = 1e-9


def entropy(shares: list[float]) -> float:
    return float(-sum(share * np.log2(share) for share in shares if share > 0))


def shrunk_tables(images: list[tuple[list[float], int]]) -> dict[int, tuple[float, list[float]]]:
    """Share and table of each class; `images` are the outcomes' probabilities of an image, and its class."""
    n_outcomes = len(images[0][0])
    overall = [sum(p[k] for p, _ in images) / len(images) for k in range(n_outcomes)]
    tables = {}
    for label in sorted({label for _, label in images}):
        of_class = [p for p, other in images if other == label]
        n = len(of_class)
        table = [
            (sum(p[k] for p in of_class) + PSEUDO_IMAGES * overall[k]) / (n + PSEUDO_IMAGES) for k in range(n_outcomes)
        ]
        tables[label] = (n / len(images), table)
    return tables


def mutual(tables: dict[int, tuple[float, list[float]]]) -> float:
    """I(C; outcome)."""
    mixture = [sum(weight * table[k] for weight, table in tables.values()) for k in range(len(tables[min(tables)][1]))]
    return entropy(mixture) - sum(weight * entropy(table) for weight, table in tables.values())


def brute_own(p_yes: np.ndarray, labels: np.ndarray, q: int) -> float:
    images = [([p, 1 - p], int(label)) for p, label in zip(p_yes[:, q], labels, strict=True) if not np.isnan(p)]
    return mutual(shrunk_tables(images)) if images else 0.0


def brute_given(p_yes: np.ndarray, labels: np.ndarray, q: int, s: int) -> float:
    """I(C; A_q | A_s) = I(C; A_q, A_s) - I(C; A_s)."""
    images = []
    for row, label in zip(p_yes, labels, strict=True):
        a, b = row[q], row[s]
        if not np.isnan(a) and not np.isnan(b):
            images.append(([a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)], int(label)))
    if not images:
        return brute_own(p_yes, labels, q)
    tables = shrunk_tables(images)
    of_s = {label: (weight, [t[0] + t[2], t[1] + t[3]]) for label, (weight, t) in tables.items()}
    return mutual(tables) - mutual(of_s)


def brute_rank(p_yes: np.ndarray, labels: np.ndarray) -> list[int]:
    n = p_yes.shape[1]
    own = [brute_own(p_yes, labels, q) for q in range(n)]
    order: list[int] = []
    while len(order) < n:
        best = None
        for q in set(range(n)) - set(order):
            score = min((brute_given(p_yes, labels, q, s) for s in order), default=own[q])
            key = (round(score, 7), round(own[q], 7), -q)
            if best is None or key > best[0]:
                best = (key, q)
        assert best is not None
        order.append(best[1])
    return order


@pytest.mark.parametrize("nulls", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_definition_image_by_image(seed: int, nulls: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, size=30, p=[0.2, 0.3, 0.5])
    p_yes = np.clip(rng.random((30, 7)) * 0.6 + (rng.random((3, 7)) < 0.4)[labels] * 0.4, 0, 1)
    p_yes[:, 5] = p_yes[:, 0].round()
    p_yes[rng.random(p_yes.shape) < nulls] = NAN
    found = information(p_yes, labels)
    for q, s in itertools.permutations(range(7), 2):
        assert found.given[q, s] == pytest.approx(brute_given(p_yes, labels, q, s), abs=1e-10)
    np.testing.assert_allclose(found.own, [brute_own(p_yes, labels, q) for q in range(7)], atol=1e-10)
    assert list(rank_by_information(p_yes, labels)) == brute_rank(p_yes, labels)


def test_without_pseudo_images_hard_answers_have_the_information_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(question_selection, "PSEUDO_IMAGES", SMALL)
    rng = np.random.default_rng(1)
    labels, hard = rng.integers(4, size=60), rng.integers(2, size=(60, 3))
    found = information(hard.astype(float), labels)
    for q in range(3):
        assert found.own[q] == pytest.approx(mutual_info_score(labels, hard[:, q]) / np.log(2), abs=1e-6)
    pair = mutual_info_score(labels, hard[:, 0] + 2 * hard[:, 1]) / np.log(2)
    assert found.given[0, 1] == pytest.approx(pair - found.own[1], abs=1e-6)


FOUR_CLASSES = np.repeat([0, 1, 2, 3], 10)
HIGH = (FOUR_CLASSES >= 2).astype(float)
"""Which half the class is in: one bit."""
LOW = (FOUR_CLASSES % 2).astype(float)
"""Which of its half it is: another bit, independent of the first."""


def test_a_copy_of_a_chosen_question_comes_after_a_weaker_independent_one() -> None:
    weaker = np.where(LOW == 1, 0.7, 0.3)
    p_yes = np.column_stack([HIGH, HIGH, 1 - HIGH, weaker])
    found = information(p_yes, FOUR_CLASSES)
    assert found.own[1] > found.own[3], "by itself the copy tells more"
    assert list(rank_by_information(p_yes, FOUR_CLASSES)) == [0, 3, 1, 2]


def test_a_constant_question_is_last_and_behind_a_copy() -> None:
    p_yes = np.column_stack([np.full(40, 0.5), np.full(40, 1.0), HIGH, LOW, HIGH])
    assert list(rank_by_information(p_yes, FOUR_CLASSES)) == [2, 3, 4, 0, 1]


def test_a_question_that_tells_something_only_with_another_one_comes_next() -> None:
    """Answers of which only the exclusive or is the class: each alone tells nothing, both together all."""
    labels = np.tile([0, 1, 1, 0], 8)
    first, second = np.tile([0.0, 0, 1, 1], 8), np.tile([0.0, 1, 0, 1], 8)
    weak = np.where(labels == 1, 0.6, 0.4)
    third = np.tile([0.2, 0.2, 0.2, 0.2], 8)
    found = information(np.column_stack([first, second]), labels)
    assert found.own[0] == pytest.approx(0, abs=1e-9)
    assert found.given[1, 0] > 0.8
    assert list(rank_by_information(np.column_stack([first, third, second]), labels))[:2] == [0, 2]
    assert list(rank_by_information(np.column_stack([first, weak]), labels)) == [1, 0]


def test_equal_questions_keep_their_order() -> None:
    answers = np.random.default_rng(0).random((40, 1))
    assert list(rank_by_information(np.repeat(answers, 17, axis=1), FOUR_CLASSES)) == list(range(17))


def test_noise_with_few_images_a_class_does_not_come_before_what_is_told_of_all() -> None:
    """Fifty classes of three images, questions without meaning whose answers are sure; one of half of the classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(50), 3)
    noise = rng.integers(2, size=(150, 5)).astype(float)
    real = np.where(labels % 2 == 1, 0.95, 0.05)
    p_yes = np.column_stack([noise, real])
    assert rank_by_information(p_yes, labels)[0] == 5
    shrunk = information(p_yes, labels).own
    for question, answers in enumerate(noise.T):
        plug_in = mutual_info_score(labels, answers) / np.log(2)
        assert shrunk[question] < 0.6 * plug_in, "most of what three images seem to tell is chance"


def test_the_pseudo_image_takes_more_from_noise_than_from_what_is_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images a class: sure answers by chance, against a weaker difference of half of the classes that is real."""
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(100), 2)
    noise, real = rng.integers(2, size=200).astype(float), np.where(labels % 2 == 1, 0.88, 0.12)
    p_yes = np.column_stack([noise, real])
    assert list(rank_by_information(p_yes, labels)) == [1, 0]
    monkeypatch.setattr(question_selection, "PSEUDO_IMAGES", SMALL)
    assert list(rank_by_information(p_yes, labels)) == [0, 1], "without it the noise would come first"


def test_a_question_without_answers_is_last_and_one_without_common_images_keeps_its_own_information() -> None:
    first, second = HIGH.copy(), LOW.copy()
    first[::2], second[1::2] = NAN, NAN
    p_yes = np.column_stack([np.full(40, NAN), first, second])
    found = information(p_yes, FOUR_CLASSES)
    assert found.own[0] == 0
    assert found.given[2, 1] == found.own[2] > 0.5
    assert list(rank_by_information(p_yes, FOUR_CLASSES)) == [1, 2, 0]


def test_names_of_the_classes_and_the_order_of_the_images_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    p_yes, shuffled = rng.random((40, 8)), rng.permutation(40)
    expected = list(rank_by_information(p_yes, FOUR_CLASSES))
    assert list(rank_by_information(p_yes[shuffled], 9 - 2 * FOUR_CLASSES[shuffled])) == expected
    assert list(rank_by_information(p_yes, FOUR_CLASSES)) == expected


@pytest.mark.parametrize(("shape", "expected"), [((0, 3), [0, 1, 2]), ((1, 3), [0, 1, 2]), ((4, 0), [])])
def test_nothing_to_rank_by_leaves_the_order(shape: tuple[int, int], expected: list[int]) -> None:
    p_yes = np.random.default_rng(0).random(shape)
    assert list(rank_by_information(p_yes, np.zeros(shape[0], dtype=int))) == expected


def test_it_takes_single_precision() -> None:
    p_yes = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    expected = list(rank_by_information(p_yes.astype(np.float64), FOUR_CLASSES))
    assert list(rank_by_information(p_yes, FOUR_CLASSES)) == expected


def test_a_hundred_candidates_and_two_hundred_classes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    p_yes, labels = rng.random((12_000, 100)), rng.integers(200, size=12_000)
    start = time.perf_counter()
    rank_by_information(p_yes, labels)
    assert time.perf_counter() - start < 10
