import pytest
import torch

from makd.packing import common_prefix, pack, packs

BRANCHES = [[5, 6], [7], [8, 9, 10]]


def test_a_pack_lays_branches_in_a_row_and_restarts_the_depth() -> None:
    packed = pack(BRANCHES)
    assert packed.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert packed.depth.tolist() == [0, 1, 0, 0, 1, 2]
    assert packed.branch.tolist() == [0, 0, 1, 2, 2, 2]
    assert packed.last.tolist() == [1, 2, 5]


def test_a_token_sees_the_prefix_its_own_branch_so_far_and_nothing_else() -> None:
    allowed = pack(BRANCHES).mask(2, torch.float32)[0, 0] == 0
    expected = [
        "11 10 0 000",
        "11 11 0 000",
        "11 00 1 000",
        "11 00 0 100",
        "11 00 0 110",
        "11 00 0 111",
    ]
    assert allowed.int().tolist() == [[int(sign) for sign in row.replace(" ", "")] for row in expected]


def test_the_mask_is_additive_in_the_dtype_of_the_model() -> None:
    mask = pack(BRANCHES).mask(1, torch.bfloat16)
    assert mask.dtype == torch.bfloat16
    assert set(mask.flatten().tolist()) == {0.0, torch.finfo(torch.bfloat16).min}


@pytest.mark.parametrize(("budget", "sizes"), [(3, [2, 1]), (2, [1, 1, 1]), (6, [3]), (1, [1, 1, 1])])
def test_packs_keep_the_order_and_the_budget(budget: int, sizes: list[int]) -> None:
    found = packs(BRANCHES, budget)
    assert [len(packed.last) for packed in found] == sizes
    assert torch.cat([packed.ids for packed in found]).tolist() == [5, 6, 7, 8, 9, 10]


def test_the_common_prefix_leaves_every_branch_a_token() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 4]]) == 2
    assert common_prefix([[1, 2], [1, 2, 4]]) == 1
    assert common_prefix([[1, 2, 3]]) == 2
    assert common_prefix([[1], [2]]) == 0
