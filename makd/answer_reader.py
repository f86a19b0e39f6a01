"""Reading the answers of a store a block at a time, whatever is appended or compacted meanwhile."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.answers import Answers
from makd.store_parts import LOGITS, Vanished, open_part, parts_of

BLOCK_ANSWERS = 2**23
BLOCK_IMAGES = 2**16
"""What a reader holds in memory at a time: 64 MB of logits, of not too many images."""

Rows = npt.NDArray[np.integer[Any]]


class BlockReader(ABC):
    """Answers about images, a block at a time."""

    image_ids: pd.Index
    question_ids: pd.Index
    bounded: bool  # whether some answers are bounds; then the tables have columns for them

    def blocks(self) -> Iterator[tuple[slice, Answers]]:
        """All images in their order: which of them, and their answers."""
        step = block_images(len(self.question_ids))
        for start in range(0, len(self.image_ids), step):
            rows = slice(start, min(start + step, len(self.image_ids)))
            yield rows, self.read(np.arange(rows.start, rows.stop))

    @abstractmethod
    def read(self, rows: Rows) -> Answers:
        """What is known of the images in these places of `image_ids`; -1 is an image of which nothing is known."""


class AnswerReader(BlockReader):
    """The answers to some questions about some images, a block at a time; in memory is one block and a number an image.

    Where parts say different things, the last one holds. Parts that are compacted meanwhile are found anew.

    Args:
        folder: of the store.
        image_ids: distinct.
        question_ids: distinct.

    Raises:
        ValueError: ids that are not distinct.
        UserError: a part is damaged.
    """

    def __init__(self, folder: Path, image_ids: Sequence[str], question_ids: Sequence[str]) -> None:
        self.folder = folder
        self.image_ids, self.question_ids = pd.Index(image_ids), pd.Index(question_ids)
        for name, ids in {"image_ids": self.image_ids, "question_ids": self.question_ids}.items():
            if not ids.is_unique:
                raise ValueError(f"{name} must be distinct")
        self.bounded = False
        self.list_parts()

    def list_parts(self) -> None:
        """Where each row of each part is among the wanted images, -1 if nowhere; parts without any are left out."""
        while True:
            contents = {}
            try:
                for path in parts_of(self.folder):
                    with open_part(path) as part:
                        among = self.image_ids.get_indexer(part.image_ids()).astype(np.int32)
                        has_bounds = len(part.columns) > len(LOGITS)
                    if (among >= 0).any():
                        contents[path] = among
                        self.bounded |= has_bounds
                break
            except Vanished:
                wait_for_compaction()
        self.contents = list(contents.items())
        # The images of a part lie close together: to look into all parts for each block would be their square
        self.first = np.array([among[among >= 0].min() for among in contents.values()], np.int32)
        self.last = np.array([among.max() for among in contents.values()], np.int32)

    def read(self, rows: Rows) -> Answers:
        while True:
            try:
                return self.read_listed(rows)
            except Vanished:
                wait_for_compaction()
                self.list_parts()

    def read_listed(self, rows: Rows) -> Answers:
        images, back = np.unique(rows, return_inverse=True)
        place = np.full(len(self.image_ids) + 1, -1, np.int32)  # the last one is that of the rows -1
        place[images] = np.arange(len(images))
        place[-1] = -1
        shape = len(images), len(self.question_ids)
        z = {name: np.full(shape, np.nan, np.float32) for name in LOGITS}  # and BOUNDS, once there are any
        known = images[images >= 0]
        near = (self.last >= known[0]) & (self.first <= known[-1]) if len(known) else np.zeros(len(self.last), np.bool_)
        for path, among in (self.contents[number] for number in np.flatnonzero(near)):
            at_row = place[among]
            if not (at_row >= 0).any():
                continue
            with open_part(path) as part:
                at_column = self.question_ids.get_indexer(part.question_ids)
                asked = at_column >= 0
                if not asked.any():
                    continue
                for group, group_rows in part.row_groups():
                    here = at_row[group_rows] >= 0
                    if not here.any():
                        continue
                    target = np.ix_(at_row[group_rows][here], at_column[asked])
                    new = {name: values[np.ix_(here, asked)] for name, values in part.logits(group).items()}
                    z |= {name: np.full(shape, np.nan, np.float32) for name in new if name not in z}
                    lacking = Answers(**new).missing  # an answer holds as a whole, never the half of one
                    for name, values in z.items():
                        values[target] = np.where(lacking, values[target], new.get(name, np.float32(np.nan)))
        return Answers(**{name: values[back] for name, values in z.items()})


def block_images(n_questions: int) -> int:
    """How many images are read, or written, together."""
    return max(1, min(BLOCK_IMAGES, BLOCK_ANSWERS // max(1, n_questions)))


def wait_for_compaction() -> None:
    """A network's file systems may list for a while what is gone."""
    time.sleep(0.05)
