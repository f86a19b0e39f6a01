"""A part of the answer store: a row an image; z_yes and z_no are lists over the part's questions.

Where a model tells no more than an interval of P(yes), so are p_lo and p_hi (`makd.answers.Answers`).

The ids of the questions are in the file's metadata. Its pages have checksums: a flipped bit is no answer.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from makd.errors import UserError
from makd.files import atomic_write

Logits = npt.NDArray[np.float32]
QUESTIONS_KEY = b"makd.question_ids"
LOGITS = ("z_yes", "z_no")
BOUNDS = ("p_lo", "p_hi")
"""Columns of the parts that have intervals; a part of a model that tells both logits has none."""
ROW_GROUP_ANSWERS = 2**20
"""Answers that are read together: 8 MB of logits."""


class Vanished(Exception):
    """A part that was listed is no longer there: what it held is in a larger one by now."""


def write_part(
    path: Path,
    image_ids: Sequence[str],
    question_ids: Sequence[str],
    z_yes: Logits,
    z_no: Logits,
    bounds: tuple[Logits, Logits] | None = None,
) -> None:
    """Write a part, whole or not at all; both logits, and p_lo and p_hi, have the shape (images, questions)."""
    n_questions = len(question_ids)
    columns = dict(zip(LOGITS, (z_yes, z_no), strict=True)) | dict(zip(BOUNDS, bounds or (), strict=False))
    lists = [pa.FixedSizeListArray.from_arrays(pa.array(one.ravel()), n_questions) for one in columns.values()]
    table = pa.table([pa.array(image_ids, pa.string()), *lists], names=["image_id", *columns])
    table = table.replace_schema_metadata({QUESTIONS_KEY: json.dumps(list(question_ids))})
    with atomic_write(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            row_group_size=max(1, ROW_GROUP_ANSWERS // n_questions),
            use_dictionary=False,  # no two logits are alike, and no two images
            write_page_checksum=True,
        )


class Part:
    """An open part; its row groups are read one by one.

    Raises:
        ValueError: the file is something else.
    """

    def __init__(self, file: pq.ParquetFile) -> None:
        self.file = file
        self.question_ids = questions_in(file.schema_arrow)
        self.columns = [*LOGITS, *(name for name in BOUNDS if name in file.schema_arrow.names)]

    def image_ids(self) -> list[str]:
        return list(self.file.read(columns=["image_id"]).column(0).to_pylist())

    def row_groups(self) -> Iterator[tuple[int, slice]]:
        """The number of each row group, and its rows in the part."""
        start = 0
        for group in range(self.file.num_row_groups):
            stop = start + self.file.metadata.row_group(group).num_rows
            yield group, slice(start, stop)
            start = stop

    def logits(self, group: int) -> dict[str, Logits]:
        """z_yes and z_no, and p_lo and p_hi where there are any, of a row group, shape (images, questions).

        All are NaN where there is no answer.
        """
        table = self.file.read_row_group(group, columns=self.columns)
        flat = {name: table.column(name).combine_chunks().flatten() for name in self.columns}
        shape = table.num_rows, len(self.question_ids)
        return {name: values.to_numpy(zero_copy_only=False).reshape(shape) for name, values in flat.items()}


@contextmanager
def open_part(path: Path) -> Iterator[Part]:
    """Open a part, and say what is wrong with it, now or while it is read.

    Raises:
        Vanished: it is not there any more.
        UserError: it is damaged, or no part at all.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield Part(file)
    except (pa.ArrowException, OSError) as error:
        if not path.is_symlink() and not path.exists():
            raise Vanished(path) from None
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}); delete it: only its own answers are asked again") from None
    except ValueError as error:
        raise UserError(f"{path} is no part of an answer store: {error}; move it away") from None


def questions_in(schema: pa.Schema) -> list[str]:
    """The ids of a part's questions.

    Raises:
        ValueError: this is not the schema of a part.
    """
    metadata = schema.metadata or {}
    if QUESTIONS_KEY not in metadata:
        raise ValueError("it does not say which questions its columns are")
    ids = json.loads(metadata[QUESTIONS_KEY])
    if not (isinstance(ids, list) and ids and all(isinstance(id_, str) for id_ in ids) and len(set(ids)) == len(ids)):
        raise ValueError("its questions are no list of distinct ids")
    lists = [*LOGITS, *(name for name in BOUNDS if set(BOUNDS) & set(schema.names))]
    for name, kind in {"image_id": pa.string(), **dict.fromkeys(lists, pa.list_(pa.float32(), len(ids)))}.items():
        if name not in schema.names or schema.field(name).type != kind:
            got = schema.field(name).type if name in schema.names else "no such column"
            raise ValueError(f"{name} should be {kind}, got {got}")
    return ids


def parts_of(folder: Path) -> list[Path]:
    """The parts in the order of writing."""
    return sorted(folder.glob("part-*.parquet"), key=lambda path: (part_number(path), path.name))


def part_number(path: Path) -> int:
    """Of part-<number>-<random>.parquet."""
    number = path.name.split("-")[1]
    return int(number) if number.isdecimal() else 0
