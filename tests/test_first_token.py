"""What log-probabilities say about P(yes): against distributions that are known whole."""

import math

import numpy as np
import pytest

from makd.first_token import NAN, FirstToken, Malformed, among_top, exact, share, top_of

YES, NO = ["Yes", "token_id:1"], ["No", "token_id:2"]


def told(**probabilities: float) -> list[tuple[str, float]]:
    return [(token, math.log(p)) for token, p in probabilities.items()]


def test_both_among_the_likeliest_are_exact() -> None:
    found = among_top(told(Yes=0.6, No=0.2, Maybe=0.1), YES, NO)
    assert found.exact
    assert share(found.z_yes, found.z_no) == pytest.approx(0.75)
    assert found.mass == pytest.approx(0.8)
    assert math.isnan(found.p_lo)
    assert math.isnan(found.p_hi)


def test_a_missing_answer_is_at_most_as_likely_as_the_last_that_is_told() -> None:
    found = among_top(told(Yes=0.6, Maybe=0.2, The=0.1), YES, NO)
    assert math.isnan(found.z_no)
    assert found.p_lo == pytest.approx(0.6 / 0.7)
    assert found.p_hi == 1


def test_a_missing_answer_has_at_most_what_the_others_leave() -> None:
    found = among_top(told(No=0.9, Maybe=0.08), YES, NO)
    assert math.isnan(found.z_yes)
    assert found.p_lo == 0
    assert found.p_hi == pytest.approx(0.02 / 0.92, rel=1e-3)


def test_nothing_is_known_where_both_are_missing() -> None:
    found = among_top(told(The=0.9, A=0.05), YES, NO)
    assert np.isnan(found[:2]).all()
    assert found[2:] == (0, 1)
    assert not found.exact


def test_a_sum_that_rounding_has_brought_above_one_leaves_a_little() -> None:
    found = among_top([("Yes", 0.0), ("Maybe", math.log(1e-7))], YES, NO)
    assert 0.999 < found.p_lo < 1


def test_the_sentinel_is_no_probability() -> None:
    found = among_top([("Yes", math.log(0.6)), ("The", math.log(0.3)), ("No", -9999.0)], YES, NO)
    assert math.isnan(found.z_no)
    with pytest.raises(Malformed):
        exact(-0.1, -9999.0)


def test_bounds_hold_the_truth_whatever_is_left_out() -> None:
    rng = np.random.default_rng(0)
    names = ["Yes", "No", *(f"w{k}" for k in range(10))]
    for _ in range(300):
        z = rng.normal(0, 3, len(names))
        p = np.exp(z) / np.exp(z).sum()
        top = sorted(zip(names, np.log(p).tolist(), strict=True), key=lambda one: -one[1])[: rng.integers(1, 13)]
        found = among_top(top, YES, NO)
        truth = p[0] / (p[0] + p[1])
        if found.exact:
            assert share(found.z_yes, found.z_no) == pytest.approx(truth)
        else:
            assert found.p_lo - 1e-9 <= truth <= found.p_hi + 1e-9


@pytest.mark.parametrize(
    ("top", "z_yes"),
    [
        ([("token_id:1", -0.5), ("No", -1.0)], -0.5),
        ([(" Yes", -0.5), ("No", -1.0)], -0.5),
        ([("\u2581Yes", -0.5), ("No", -1.0)], -0.5),
        ([(" Yes", -0.9), ("Yes", -1.5), ("No", -1.7)], -1.5),  # the spelling in which both are told
        ([("Yes", -3.0), ("Yes", -0.5), ("No", -1.7)], -0.5),  # two tokens of one spelling
        ([("Yes", -0.5), ("Yes", -3.0), ("No", -1.7)], -0.5),
        ([("yes", -0.5), ("No", -1.0)], NAN),  # another word
    ],
)
def test_answers_are_found_by_word_or_id(top: list[tuple[str, float]], z_yes: float) -> None:
    np.testing.assert_equal(among_top(top, YES, NO).z_yes, z_yes)


@pytest.mark.parametrize("stray", ["Yes", "yes", "\u2581Yes", "token_id:1"])
def test_both_answers_are_of_one_spelling(stray: str) -> None:
    found = among_top([(" Yes", math.log(0.6)), (" No", math.log(0.3)), (stray, -9.0)], YES, NO)
    assert share(found.z_yes, found.z_no) == pytest.approx(2 / 3)
    alone = among_top([(" Yes", math.log(0.6)), ("No", math.log(0.1))], YES, NO)
    assert not alone.exact, "of which neither is the other's alternative"
    assert (alone.z_yes, alone.p_hi) == (math.log(0.6), 1)


def test_a_very_unlikely_answer_is_what_the_server_says() -> None:
    found = among_top([("Yes", -0.01), ("No", -80.0)], YES, NO)
    assert (found.z_yes, found.z_no) == (-0.01, -80.0)


@pytest.mark.parametrize("z", [NAN, 0.3])
@pytest.mark.parametrize("token", ["Yes", " No"])
def test_a_number_of_an_answer_that_is_none_is_no_missing_answer(token: str, z: float) -> None:
    with pytest.raises(Malformed, match="log-probabilities that are none"):
        among_top([(token, z), ("The", -1.0), ("Maybe", -2.0)], YES, NO)


def test_a_token_told_twice_counts_once_and_one_that_is_not_told_not_at_all() -> None:
    once = among_top([("Yes", math.log(0.5)), ("The", math.log(0.1)), ("A", NAN)], YES, NO)
    assert once == among_top([("Yes", math.log(0.5)), *[("The", math.log(0.1))] * 2], YES, NO)
    assert once.p_lo == pytest.approx(0.5 / 0.6)
    sampled_too = among_top(told(Yes=0.45, The=0.4) + told(Yes=0.45), YES, NO)
    assert sampled_too.p_lo == pytest.approx(0.45 / 0.6, rel=1e-4), "0.15 are left, not nothing"


@pytest.mark.parametrize("rest", [[("No", math.log(0.1))], []])
def test_more_than_one_in_all_is_no_distribution(rest: list[tuple[str, float]]) -> None:
    with pytest.raises(Malformed, match=r"sum is 1\.\d+, more than 1"):
        among_top([("Yes", math.log(0.95)), ("The", math.log(0.06)), *rest], YES, NO)


def test_the_first_choice_is_the_one_that_says_so_and_a_null_is_no_number() -> None:
    def choice(index: int, z: float | None) -> dict[str, object]:
        first = {"token": "Yes", "logprob": -0.5, "top_logprobs": [{"token": "Yes", "logprob": z}]}
        return {"index": index, "logprobs": {"content": [first]}}

    assert top_of({"choices": [choice(1, -9.0), choice(0, -0.5)]})[1] == [("Yes", -0.5)]
    assert math.isnan(top_of({"choices": [choice(0, None)]})[1][0][1])
    with pytest.raises(Malformed):
        top_of({"choices": [choice(0, 10**400)]})


@pytest.mark.parametrize("z", [(0.0, 0.0), (-0.01, -4.0), (0.5, -1.0), (NAN, -1.0)])
def test_numbers_that_are_no_distribution_are_refused(z: tuple[float, float]) -> None:
    with pytest.raises(Malformed):
        exact(*z)


@pytest.mark.parametrize(
    ("completion", "said"),
    [
        ({}, "no chat completion"),
        ({"choices": [{"logprobs": None}]}, "no log-probabilities of the first token"),
        ({"choices": [{"logprobs": {"content": []}}]}, "no log-probabilities"),
        ({"error": {"message": "out of memory"}}, "out of memory"),
        ({"choices": [{"logprobs": {"content": [{"token": "Yes", "logprob": None}]}}]}, "no log-probabilities"),
    ],
)
def test_other_replies_are_named(completion: dict[str, object], said: str) -> None:
    with pytest.raises(Malformed, match=said):
        top_of(completion)


def test_no_logprobs_at_all_is_no_answer() -> None:
    with pytest.raises(Malformed, match="no log-probabilities"):
        among_top([], YES, NO)


def test_extreme_logits_do_not_overflow() -> None:
    assert share(-1e4, 0.0) == 0
    assert share(0.0, -1e4) == 1
    assert FirstToken(-800.0, NAN).mass == 0
