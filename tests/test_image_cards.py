import numpy as np
import pytest

from makd.image_cards import KINDS, QUESTIONS_A_CARD, ImageCard, choose_cards, telling_questions

N = 400


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, N)


@pytest.fixture
def baseline(labels: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.where(rng.random(N) < 0.5, labels, rng.integers(0, 5, N))


@pytest.fixture
def makd(labels: np.ndarray) -> np.ndarray:
    p = np.random.default_rng(2).random((N, 5))
    p[np.arange(N), labels] += 0.4
    return np.asarray(p / p.sum(axis=1, keepdims=True))


MEANS = np.random.default_rng(3).random((5, 12))


def test_a_card_is_of_the_kind_that_both_arms_make_it(
    baseline: np.ndarray, makd: np.ndarray, labels: np.ndarray
) -> None:
    cards = choose_cards(baseline, makd, labels, MEANS)
    kinds = {
        (False, True): "mended by makd",
        (True, False): "spoilt by makd",
        (False, False): "both wrong",
        (True, True): "both right",
    }
    assert {card.kind for card in cards} == set(KINDS)
    for card in cards:
        row = card.row
        assert card.kind == kinds[bool(baseline[row] == labels[row]), bool(makd[row].argmax() == labels[row])]


def test_the_rival_is_what_it_was_taken_for_or_else_the_second_likeliest(
    baseline: np.ndarray, makd: np.ndarray, labels: np.ndarray
) -> None:
    for card in choose_cards(baseline, makd, labels, MEANS):
        row = card.row
        likely = sorted(range(5), key=lambda label: -makd[row, label])
        rivals = {"mended by makd": baseline[row], "both right": likely[1]}
        assert card.rival == rivals.get(card.kind, likely[0])
        assert card.rival != labels[row]


def test_kinds_take_turns_no_image_comes_twice_and_a_kind_that_runs_out_leaves_the_rest() -> None:
    labels = np.zeros(9, dtype=np.int64)
    baseline = np.array([1] * 2 + [0] * 7)
    makd = np.eye(2)[[0] * 9]  # two are mended, seven always right
    cards = choose_cards(baseline, makd, labels, MEANS[:2], each=4)
    mended, right = "mended by makd", "both right"
    assert [card.kind for card in cards] == [mended, right, mended, right, right, right]
    assert len({card.row for card in cards}) == 6


def test_cards_are_the_same_each_time_and_drawn_not_the_first(
    baseline: np.ndarray, makd: np.ndarray, labels: np.ndarray
) -> None:
    cards = choose_cards(baseline, makd, labels, MEANS, each=3)
    assert cards == choose_cards(baseline, makd, labels, MEANS, each=3)
    for kind in KINDS:
        of_kind = [card.row for card in choose_cards(baseline, makd, labels, MEANS, each=N) if card.kind == kind]
        drawn = [card.row for card in cards if card.kind == kind]
        assert len(drawn) == 3
        assert drawn == of_kind[:3]
        assert drawn != sorted(of_kind)[:3]


def test_equal_probabilities_go_to_the_first_class() -> None:
    (card,) = choose_cards(np.array([1]), np.full((1, 3), 1 / 3), np.array([0]), MEANS[:3])
    assert card == ImageCard(0, "mended by makd", 1, telling_questions(MEANS, 0, 1))
    (card,) = choose_cards(np.array([0]), np.full((1, 3), 1 / 3), np.array([0]), MEANS[:3])
    assert (card.kind, card.rival) == ("both right", 1)


def test_telling_questions_differ_most_between_the_two_classes() -> None:
    means = np.array([[0.5, 0.9, 0.1, 0.2], [0.5, 0.1, 0.3, 0.1], [0.0, 0.9, 0.1, 0.2]])
    assert telling_questions(means, 0, 1) == [1, 2, 3, 0]
    assert telling_questions(means, 0, 2) == [0, 1, 2, 3]  # ties: by rank
    assert telling_questions(MEANS, 0, 1) == list(np.argsort(-np.abs(MEANS[0] - MEANS[1]))[:QUESTIONS_A_CARD])


def test_questions_without_an_answer_about_either_class_tell_nothing() -> None:
    means = np.array([[np.nan, 0.9, 0.1, 0.5], [0.5, 0.1, np.nan, 0.5]])
    assert telling_questions(means, 0, 1) == [1, 3]
    assert telling_questions(np.full((2, 3), np.nan), 0, 1) == []
