"""The answer store: every answer that was ever paid for, append-only, outside DVC's outs.

    <cache>/answers/<key>/provenance.json     what the key is the hash of
    <cache>/answers/<key>/part-*.parquet      the answers (makd/store_parts.py)
    <cache>/answers/<key>/unreadable.json     images that were to be asked and could not be read
    <cache>/answers/<key>/lock, turn, in-use  who writes what, who counts together, who reads

The key holds all that determines a number besides the picture and the question: a part is right for ever. A part is
written beside its place and renamed, so a `kill -9` loses at most the shard in flight.
"""

import hashlib
import json
import os
import runpy
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.errors import UserError
from makd.file_lock import held
from makd.files import read_memo, write_json
from makd.store_parts import BOUNDS, LOGITS, Logits, Vanished, open_part, write_part

BLOCK_ANSWERS = 2**23
BLOCK_IMAGES = 2**16
"""What a reader holds in memory at a time: 64 MB of logits, of not too many images."""

Rows = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Answers:
    """The two logits of each (image, question), both of shape (images, questions); NaN where there is no answer.

    A server that tells the likeliest tokens alone may leave a logit out. It is NaN then, and P(yes) lies between two
    bounds in [0, 1], which are NaN wherever both logits are there.
    """

    z_yes: Logits
    z_no: Logits
    p_lo: Logits | None = None
    p_hi: Logits | None = None

    @classmethod
    def of(cls, channels: npt.NDArray[np.float32]) -> "Answers":
        """Of what an `Answerer` gives: z_yes and z_no, or these and p_lo and p_hi, along the last axis."""
        return cls(*(channels[..., k].copy() for k in range(channels.shape[-1])))

    @property
    def bounds(self) -> tuple[Logits, Logits] | None:
        """p_lo and p_hi, if a single answer here has them."""
        if self.p_lo is None or self.p_hi is None or np.isnan(self.p_lo).all():
            return None
        return self.p_lo, self.p_hi

    def target(self, widest: float) -> Logits:
        """`p_yes`; where one logit is told, the bounds' middle if they are at most `widest` apart, else NaN."""
        if self.p_lo is None or self.p_hi is None:
            return self.p_yes
        told = ~(np.isnan(self.z_yes) & np.isnan(self.z_no))
        narrow = told & (self.p_hi - self.p_lo <= widest)  # False where they are NaN
        return np.where(narrow, (self.p_lo + self.p_hi) / 2, self.p_yes)

    @property
    def p_yes(self) -> Logits:
        """Eq. (1): softmax over the two logits, the share of yes, in [0, 1]; NaN where one of them is."""
        with np.errstate(over="ignore"):  # exp overflows to inf where q is 0
            return np.asarray(1 / (1 + np.exp(self.z_no.astype(np.float64) - self.z_yes)), dtype=np.float32)

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Of which nothing is known: neither a logit nor bounds."""
        known = ~np.isnan(self.z_yes)
        return ~known if self.p_lo is None else ~(known | ~np.isnan(self.z_no) | ~np.isnan(self.p_lo))


def store_key(provenance: dict[str, Any]) -> str:
    """Hash of everything in `provenance`; any change in it asks all questions again."""
    return hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()[:16]


class AnswerStore:
    """The answers of one scorer.

    Args:
        root: the folder of all stores.
        provenance: all that determines a number besides picture and question, JSON-serialisable.
    """

    def __init__(self, root: Path, provenance: dict[str, Any]) -> None:
        self.key = store_key(provenance)
        self.folder = root / self.key
        self.provenance = provenance
        self.next_number: int | None = None  # of a part, while locked: to list all parts for each is their square

    def parts(self) -> list[Path]:
        return parts_of(self.folder)

    def reader(self, image_ids: Sequence[str], question_ids: Sequence[str]) -> "AnswerReader":
        """A look at these images and questions, both distinct, that never holds all of their answers."""
        return AnswerReader(self.folder, image_ids, question_ids)

    def read(self, image_ids: Sequence[str], question_ids: Sequence[str]) -> Answers:
        """What is known of these images and questions, in their order."""
        return self.reader(image_ids, question_ids).read(np.arange(len(image_ids)))

    def missing(self, image_ids: Sequence[str], question_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which answers are unknown, shape (images, questions): a byte an answer, where `read` takes eight."""
        found = np.empty((len(image_ids), len(question_ids)), np.bool_)
        for rows, answers in self.reader(image_ids, question_ids).blocks():
            found[rows] = answers.missing
        return found

    def add(self, image_ids: Sequence[str], question_ids: Sequence[str], answers: Answers) -> Path:
        """Commit one shard: after this returns its part, it survives anything.

        Raises:
            ValueError: an infinite logit, or shapes that do not fit; nothing is written then.
        """
        shape = (len(image_ids), len(question_ids))
        for name in (*LOGITS, *BOUNDS):
            values = getattr(answers, name)
            if values is None:
                continue
            if values.shape != shape:
                raise ValueError(f"{name} has shape {values.shape}, expected {shape}")
            if np.isinf(values).any():
                raise ValueError(f"{name} has infinite values")
        self.write_provenance()
        number = self.after_the_last() if self.next_number is None else self.next_number
        path = self.folder / f"part-{number:06d}-{uuid.uuid4().hex[:8]}.parquet"
        write_part(path, image_ids, question_ids, answers.z_yes, answers.z_no, answers.bounds)
        if self.next_number is not None:
            self.next_number += 1
        return path

    def after_the_last(self) -> int:
        """A number that is higher than that of every part."""
        return 1 + max((part_number(path) for path in self.folder.glob("part-*.parquet")), default=-1)

    def write_provenance(self) -> None:
        """Say what the key stands for, before anything else is put into the folder; a damaged file is mended.

        Raises:
            UserError: the folder's answers are those of another key.
        """
        path = self.folder / "provenance.json"
        if (found := read_memo(path, dict)) and store_key(found) != self.key:
            raise UserError(wrong_key(path, store_key(found)))
        if not found:
            write_json(self.provenance, path)

    def unreadable(self) -> set[str]:
        """Ids of the images that could not be read when they were to be asked: what they lack, nobody can get.

        Each extraction tries them again, for another version of the processor may take them.
        """
        return set(read_memo(self.folder / "unreadable.json", list))

    def note_unreadable(self, image_ids: Collection[str]) -> None:
        """Add to `unreadable`."""
        with self.turn():
            if new := set(image_ids) - (known := self.unreadable()):
                write_json(sorted(known | new), self.folder / "unreadable.json")

    @contextmanager
    def lock(self, places: range | None = None, *, wait: bool = True) -> Iterator[None]:
        """Let one process at a time write; a second waits here, and then finds the first one's answers.

        It is there so that nothing is asked twice: parts have names of their own, and may be written side by side. So
        processes that ask about different images may hold different `places` (makd/shards.py). An own lock: DVC's goes
        with a killed dvc while the stage lives on.

        Raises:
            UserError: another process writes, and `wait` is False.
        """
        with held(self.folder / "lock", wait=wait, places=places):
            self.next_number = self.after_the_last()
            try:
                yield
            finally:
                self.next_number = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For what those who hold different places do one after the other, and quickly."""
        with held(self.folder / "turn"):
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the store from being removed, together with all others who use it, and note that it was used."""
        with held(self.folder / "in-use", shared=True) as file:
            os.utime(file.fileno())
            yield


def wrong_key(path: Path, found: str) -> str:
    """What to say about the provenance.json of another folder."""
    return (
        f"{path} hashes to {found}, and its folder's name is {path.parent.name}; "
        "undo the edit or the renaming, or delete the folder: nobody knows who gave its answers"
    )


class AnswerReader:
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
        self.bounded = False  # whether a part has bounds; then the tables have columns for them
        self.list_parts()

    def list_parts(self) -> None:
        """Where each row of each part is among the wanted images, -1 if nowhere; parts without any are left out."""
        while True:
            contents = {}
            try:
                for path in parts_of(self.folder):
                    with open_part(path) as part:
                        self.bounded |= len(part.columns) > len(LOGITS)
                        among = self.image_ids.get_indexer(part.image_ids()).astype(np.int32)
                    if (among >= 0).any():
                        contents[path] = among
                break
            except Vanished:
                wait_for_compaction()
        self.contents = list(contents.items())
        # The images of a part lie close together: to look into all parts for each block would be their square
        self.first = np.array([among[among >= 0].min() for among in contents.values()], np.int32)
        self.last = np.array([among.max() for among in contents.values()], np.int32)

    def blocks(self) -> Iterator[tuple[slice, Answers]]:
        """All images in their order: which of them, and their answers."""
        step = block_images(len(self.question_ids))
        for start in range(0, len(self.image_ids), step):
            rows = slice(start, min(start + step, len(self.image_ids)))
            yield rows, self.read(np.arange(rows.start, rows.stop))

    def read(self, rows: Rows) -> Answers:
        """What is known of the images in these places of `image_ids`; -1 is an image of which nothing is known."""
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


def parts_of(folder: Path) -> list[Path]:
    """The parts in the order of writing."""
    return sorted(folder.glob("part-*.parquet"), key=lambda path: (part_number(path), path.name))


def part_number(path: Path) -> int:
    """Of part-<number>-<random>.parquet."""
    number = path.name.split("-")[1]
    return int(number) if number.isdecimal() else 0


def block_images(n_questions: int) -> int:
    """How many images are read, or written, together."""
    return max(1, min(BLOCK_IMAGES, BLOCK_ANSWERS // max(1, n_questions)))


def wait_for_compaction() -> None:
    """A network's file systems may list for a while what is gone."""
    time.sleep(0.05)


if __name__ == "__main__":
    # Run, not imported: the command line is no part of any stage, and DVC hashes what a stage imports.
    runpy.run_module("makd.store_cli", run_name="__main__")
