"""Shards and shares: a matter of what is wanted, and of nothing else."""

import numpy as np
import pandas as pd
import pytest

from makd.errors import UserError
from makd.questions import Question
from makd.shards import PLACES, Share, cut, shard_numbers
from makd.wanted import Wanted

QUESTIONS = [Question(text="Is it grey?"), Question(text="Is this a bird?")]


def wanted(n_images: int, for_classes: list[int] | None = None) -> Wanted:
    """All images are asked about the aspect, those in `for_classes` about the class too."""
    images = pd.Series({f"id{k}": f"{k}.png" for k in range(n_images)})
    return Wanted(
        images, QUESTIONS[:1], QUESTIONS[1:], np.ones(n_images, bool), np.isin(range(n_images), for_classes or [])
    )


def test_a_shard_is_so_many_images_of_which_the_same_is_wanted() -> None:
    assert shard_numbers(wanted(7), 3).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert shard_numbers(wanted(7, [0, 2, 4]), 2).tolist() == [2, 0, 2, 0, 3, 1, 1]


@pytest.mark.parametrize("of", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("n_images", [1, 10, 997])
def test_shares_are_whole_shards_and_all_of_them_once(of: int, n_images: int) -> None:
    everything = wanted(n_images, list(range(0, n_images, 3)))
    shards = pd.Series(shard_numbers(everything, 4), everything.images.index)
    taken = []
    for number in range(1, of + 1):
        mine = Share(number, of).take(everything, 4).images.index
        assert shards[mine].isin(shards.drop(mine)).sum() == 0, "a shard in two shares"
        taken += list(mine)
    assert sorted(taken) == sorted(everything.images.index)


def test_a_share_is_cut_into_the_shards_that_it_was_taken_from() -> None:
    everything = wanted(1000, list(range(0, 1000, 3)))
    whole = {tuple(shard.image_ids) for shard in cut(everything.images, shard_numbers(everything, 8), 8, 3)}
    mine = Share(2, 5).take(everything, 8)
    again = {tuple(shard.image_ids) for shard in cut(mine.images, shard_numbers(mine, 8), 8, 3)}
    assert len(again) > 10
    assert again < whole


@pytest.mark.parametrize("of", [2, 5, 16, 100])
def test_shares_are_of_one_size_nearly(of: int) -> None:
    everything = wanted(64 * 1000)
    sizes = [len(Share(number, of).take(everything, 64).images) for number in range(1, of + 1)]
    assert max(sizes) - min(sizes) <= 3 * 64


def test_the_ranges_of_shares_say_whether_they_overlap() -> None:
    assert [Share(number, 3).places for number in (1, 2, 3)][-1].stop == PLACES
    assert set(Share(1, 4).places[:1]) <= set(Share(1, 8).places[:1])
    assert Share(2, 4).places.start == Share(3, 8).places.start


def test_batches_stay_within_shards_of_which_little_is_left() -> None:
    everything = wanted(12)
    left = np.array([True, False, False, True] + [True] * 5 + [False, True, True])  # of 0..3, 4..7, 8..11
    shards = list(cut(everything.images[left], shard_numbers(everything, 4)[left], 4, 3))
    assert [shard.image_ids for shard in shards] == [
        ["id0", "id3"],
        ["id4", "id5", "id6", "id7"],
        ["id8", "id10", "id11"],
    ]
    assert [shard.batches for shard in shards] == [[2], [3, 1], [3]]
    few = np.isin(range(12), [0, 5, 11])
    (together,) = cut(everything.images[few], shard_numbers(everything, 4)[few], 4, 3)
    assert (together.image_ids, together.batches) == (["id0", "id5", "id11"], [1, 1, 1])
    assert list(cut(everything.images[:0], shard_numbers(everything, 4)[:0], 4, 3)) == []


def test_a_share_reads_as_it_is_typed() -> None:
    assert (Share.parse("3/8"), str(Share(3, 8))) == (Share(3, 8), "3/8")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "a/b", "-1/4", "1/0", "1.0/2"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--shard: got .*expected i/N with i from 1 to N"):
        Share.parse(text)
