"""Which images are asked and committed together: shards, the same in every engine, every process and every run.

The last bits of a model's answer depend on the images that it reads together. So images are cut into shards by their
places among those that are wanted, whatever the store has by now, and a batch is of one shard: what was lost, or falls
to another process, is asked in the same batches again.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.errors import UserError
from makd.wanted import Mask, Wanted

PLACES = 2**32
STEP = 2654435769
"""PLACES over the golden ratio: multiples of it spread evenly (Knuth, The Art of Computer Programming 3, 6.4)."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """Images whose answers are committed together."""

    image_ids: list[str]
    paths: list[str]
    batches: list[int]  # how many of them the model reads together, in turn

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True)
class Share:
    """What falls to process `number` of `of`, counted from 1. It depends on nothing else, above all not on the store.

    Every shard has a place, from 0 to PLACES; consecutive ones lie far apart. A share is a range of places, so it is an
    even sample of all shards, and shares overlap just where their ranges do, also those of 1/4 and 1/8.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Of "2/8".

        Raises:
            UserError: something else, or there is no such share.
        """
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of <= PLACES:
            raise UserError(f"--shard: got {text!r}, expected i/N with i from 1 to N: 1/8 is the first of 8 processes")
        return cls(number, of)

    @property
    def places(self) -> range:
        return range(PLACES * (self.number - 1) // self.of, PLACES * self.number // self.of)

    def take(self, wanted: Wanted, shard_images: int) -> Wanted:
        """The images of this share. They are whole shards, so they are cut into the same ones again."""
        place = shard_numbers(wanted, shard_images) * STEP % PLACES
        return wanted.take((place >= self.places.start) & (place < self.places.stop))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shard_numbers(wanted: Wanted, shard_images: int) -> Numbers:
    """The shard of each image: so many in a row of which the same is wanted. Shape (images,), from 0 on."""
    kinds = 2 * wanted.for_aspects.astype(np.int64) + wanted.for_classes
    numbers, first = np.zeros(len(kinds), np.int64), 0
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        numbers[rows] = first + np.arange(len(rows)) // shard_images
        first += -(-len(rows) // shard_images)
    return numbers


def cut(images: pd.Series, numbers: Numbers, shard_images: int, batch_images: int) -> Iterator[Shard]:
    """Shards of some of the images, of which the numbers are those of `shard_numbers`.

    Where only a few images of each shard are left, several are committed together; their batches stay apart.

    Args:
        images: path by image_id.
        numbers: shape (images,).
        shard_images: at most so many are committed together.
        batch_images: at most so many are read together.
    """
    order = np.argsort(numbers, kind="stable")
    together: list[npt.NDArray[np.intp]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        if together and sum(map(len, together)) + len(rows) > shard_images:
            yield joined(images, together, batch_images)
            together = []
        together.append(rows)
    if len(order):
        yield joined(images, together, batch_images)


def joined(images: pd.Series, groups: Sequence[npt.NDArray[np.intp]], batch_images: int) -> Shard:
    some = images.iloc[np.concatenate(groups)]
    batches = [min(batch_images, len(rows) - start) for rows in groups for start in range(0, len(rows), batch_images)]
    return Shard(list(some.index), list(some), batches)


def by_pattern(missing: Mask) -> Iterator[tuple[Mask, Mask]]:
    """Rows that lack the same questions, together: (which questions, which rows)."""
    bits = np.packbits(missing, axis=1)  # a million rows of a hundred booleans take NumPy forty seconds
    _, first, group = np.unique(bits.view(f"V{bits.shape[1]}").ravel(), return_index=True, return_inverse=True)
    for index, pattern in enumerate(missing[first]):
        if pattern.any():
            yield pattern, group == index
