import pytest
import torch

from makd.packing import common_beginning, common_prefix, pack, packs

BRANCHES = [[8, 9, 10], [5, 6], [7], [5, 4, 3]]


def test_a_pack_holds_a_common_beginning_once_and_restarts_the_depth() -> None:
    packed = pack(BRANCHES, [3, 1, 2, 0])
    assert packed.ids.tolist() == [5, 4, 3, 6, 7, 8, 9, 10]
    assert packed.depth.tolist() == [0, 1, 2, 1, 0, 0, 1, 2]
    assert packed.last.tolist() == [2, 3, 4, 7]
    assert packed.questions == (3, 1, 2, 0)


def test_a_token_sees_the_prefix_what_leads_to_it_and_nothing_else() -> None:
    allowed = pack(BRANCHES, [3, 1, 2, 0]).mask(2, torch.float32)[0, 0] == 0
    expected = [
        "11 100 0 0 000",
        "11 110 0 0 000",
        "11 111 0 0 000",
        "11 100 1 0 000",
        "11 000 0 1 000",
        "11 000 0 0 100",
        "11 000 0 0 110",
        "11 000 0 0 111",
    ]
    assert allowed.int().tolist() == [[int(sign) for sign in row.replace(" ", "")] for row in expected]


def test_a_sliding_window_counts_positions_not_places() -> None:
    allowed = pack([[5, 4, 3], [6]], [0, 1]).mask(3, torch.float32, window=3)[0, 0] == 0
    expected = [
        "011 100 0",
        "001 110 0",
        "000 111 0",
        "011 000 1",
    ]
    assert allowed.int().tolist() == [[int(sign) for sign in row.replace(" ", "")] for row in expected]


def test_the_mask_is_additive_in_the_dtype_of_the_model() -> None:
    mask = pack(BRANCHES, [0, 1]).mask(1, torch.bfloat16)
    assert mask.dtype == torch.bfloat16
    assert set(mask.flatten().tolist()) == {0.0, torch.finfo(torch.bfloat16).min}


@pytest.mark.parametrize(
    ("budget", "groups"),
    [(4, [(3, 1), (2, 0)]), (5, [(3, 1, 2), (0,)]), (100, [(3, 1, 2, 0)]), (1, [(3,), (1,), (2,), (0,)])],
)
def test_packs_keep_the_budget_and_lose_no_question(budget: int, groups: list[tuple[int, ...]]) -> None:
    assert [packed.questions for packed in packs(BRANCHES, budget)] == groups


def test_the_order_in_which_questions_are_given_changes_no_pack() -> None:
    forward, backward = packs(BRANCHES, 5), packs(BRANCHES[::-1], 5)
    for one, other in zip(forward, backward, strict=True):
        assert one.ids.equal(other.ids)
        assert one.leads.equal(other.leads)
        assert [BRANCHES[place] for place in one.questions] == [BRANCHES[::-1][place] for place in other.questions]


def test_a_question_that_is_the_beginning_of_another_ends_inside_it() -> None:
    packed = pack([[5, 6], [5], [5, 6]], [0, 1, 2])
    assert packed.ids.tolist() == [5, 6]
    assert packed.last.tolist() == [1, 0, 1]


def test_the_common_prefix_leaves_every_branch_a_token() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 4]]) == 2
    assert common_prefix([[1, 2], [1, 2, 4]]) == 1
    assert common_prefix([[1, 2, 3]]) == 2
    assert common_prefix([[1], [2]]) == 0


def test_the_common_beginning_ends_with_the_shorter() -> None:
    assert common_beginning([1, 2, 3], [1, 2]) == 2
    assert common_beginning([1, 2], [3]) == 0
