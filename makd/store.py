"""The answer store: every answer that was ever paid for, append-only, outside DVC's outs.

    <cache>/answers/<key>/provenance.json     what the key is the hash of
    <cache>/answers/<key>/part-*.parquet      a row an image; z_yes and z_no are lists over the part's questions

The key holds all that determines a number besides the picture and the question: a part is right for ever. A part is
written beside its place and renamed, so a `kill -9` loses at most the shard in flight.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from makd.errors import UserError
from makd.files import exclusive, write_json, write_parquet

Logits = npt.NDArray[np.float32]
QUESTIONS_KEY = b"makd.question_ids"
LOGITS = ("z_yes", "z_no")


@dataclass(frozen=True)
class Answers:
    """The two logits of each (image, question), both of shape (images, questions); NaN where there is no answer."""

    z_yes: Logits
    z_no: Logits

    @property
    def p_yes(self) -> Logits:
        """Eq. (1): softmax over the two logits, the share of yes, in [0, 1]; NaN where there is no answer."""
        with np.errstate(over="ignore"):  # exp overflows to inf where q is 0
            return np.asarray(1 / (1 + np.exp(self.z_no.astype(np.float64) - self.z_yes)), dtype=np.float32)

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        return np.isnan(self.z_yes)


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

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def read(self, image_ids: Sequence[str], question_ids: Sequence[str]) -> Answers:
        """What is known of these images and questions, in their order."""
        shape = (len(image_ids), len(question_ids))
        found = Answers(np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32))
        rows, columns = pd.Index(image_ids), pd.Index(question_ids)
        if not rows.is_unique:
            raise ValueError("image_ids must be distinct")
        for part in self.parts():
            table = read_part(part)
            at_row = rows.get_indexer(table.column("image_id").to_pandas())
            at_column = columns.get_indexer(part_questions(table))
            here, asked = at_row >= 0, at_column >= 0
            if not (here.any() and asked.any()):
                continue
            for name in LOGITS:
                values = part_logits(table, name)[np.ix_(here, asked)]
                target = getattr(found, name)
                place = np.ix_(at_row[here], at_column[asked])
                target[place] = np.where(np.isnan(values), target[place], values)
        return found

    def add(self, image_ids: Sequence[str], question_ids: Sequence[str], answers: Answers) -> None:
        """Commit one shard: after this returns it survives anything.

        Raises:
            ValueError: an infinite logit, or shapes that do not fit; nothing is written then.
        """
        shape = (len(image_ids), len(question_ids))
        arrays = []
        for name in LOGITS:
            values = getattr(answers, name)
            if values.shape != shape:
                raise ValueError(f"{name} has shape {values.shape}, expected {shape}")
            if np.isinf(values).any():
                raise ValueError(f"{name} has infinite values")
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(question_ids)))
        table = pa.table([pa.array(image_ids, pa.string()), *arrays], names=["image_id", *LOGITS])
        table = table.replace_schema_metadata({QUESTIONS_KEY: json.dumps(list(question_ids))})
        if not (self.folder / "provenance.json").exists():
            write_json(self.provenance, self.folder / "provenance.json")
        write_parquet(table, self.folder / f"part-{len(self.parts()):06d}-{uuid.uuid4().hex[:8]}.parquet")

    def lock(self) -> AbstractContextManager[None]:
        """Let one process at a time ask; a second waits here, and then finds the first one's answers."""
        return exclusive(self.folder / "lock", f"another extraction into {self.folder}")


def read_part(part: Path) -> pa.Table:
    try:
        return pq.read_table(part, columns=["image_id", *LOGITS])
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{part} is damaged ({error}); delete it: only its own answers are asked again") from None


def part_questions(table: pa.Table) -> list[str]:
    return list(json.loads(table.schema.metadata[QUESTIONS_KEY]))


def part_logits(table: pa.Table, name: str) -> Logits:
    flat = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(table.num_rows, -1)
