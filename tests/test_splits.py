import pandas as pd
import pytest

from makd.splits import cut


def rows(per_class: int) -> pd.DataFrame:
    return pd.DataFrame(
        [{"image_id": f"{name}{k}", "class_name": name} for name in ("ant", "bee", "cow") for k in range(per_class)]
    )


def test_each_class_gives_its_share() -> None:
    taken = cut(rows(20), 0.25, seed=0)
    assert list(taken.groupby(rows(20)["class_name"]).sum()) == [5, 5, 5]


def test_a_larger_cut_contains_a_smaller_one() -> None:
    small, large = cut(rows(20), 0.1, seed=3), cut(rows(20), 0.4, seed=3)
    assert (small <= large).all()
    assert small.sum() < large.sum()


def test_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = rows(20).sample(frac=1, random_state=0)
    assert cut(shuffled, 0.3, seed=0).sort_index().equals(cut(rows(20), 0.3, seed=0))


def test_another_seed_cuts_elsewhere() -> None:
    assert not cut(rows(20), 0.3, seed=0).equals(cut(rows(20), 0.3, seed=1))


def test_copies_of_a_picture_fall_on_the_same_side() -> None:
    twice = pd.concat([rows(10), rows(10)], ignore_index=True)
    for fraction in (0.05, 0.1, 0.15, 0.25, 0.3, 0.5):  # of an odd number of rows too
        for seed in range(3):
            taken = cut(twice, fraction, seed=seed)
            assert (taken.groupby(twice["image_id"]).nunique() == 1).all()
            assert taken.sum() == 2 * cut(rows(10), fraction, seed=seed).sum()


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_a_class_keeps_an_image_on_each_side(fraction: float) -> None:
    taken = cut(rows(3), fraction, seed=0).groupby(rows(3)["class_name"])
    assert ((taken.sum() >= 1) & (taken.sum() <= 2)).all()


def test_nothing_is_cut_at_zero_nor_from_a_single_picture() -> None:
    assert not cut(rows(3), 0.0, seed=0).any()
    assert not cut(rows(1), 0.5, seed=0).any()
