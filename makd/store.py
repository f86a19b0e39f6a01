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
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from makd.answer_reader import AnswerReader
from makd.answers import Answers
from makd.errors import UserError
from makd.file_lock import held
from makd.files import read_memo, write_json
from makd.store_parts import BOUNDS, LOGITS, part_number, parts_of, write_part


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

    def reader(self, image_ids: Sequence[str], question_ids: Sequence[str]) -> AnswerReader:
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


if __name__ == "__main__":
    # Run, not imported: the command line is no part of any stage, and DVC hashes what a stage imports.
    runpy.run_module("makd.store_cli", run_name="__main__")
