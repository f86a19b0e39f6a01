"""The finished tables: what is known of the wanted images and questions, in a stable order.

Both are written in row groups from blocks of images, so that no run is too large for memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from makd.answer_reader import BlockReader, block_images
from makd.answers import Answers
from makd.files import parquet_writer, read_in_batches, read_schema
from makd.given_reader import GivenReader
from makd.manifest import SCHEMA
from makd.store import AnswerStore
from makd.store_parts import BOUNDS, LOGITS

STORE_KEY = b"makd.store_key"
IMPORTED_ROWS = 2**22
"""Rows of data/answers.parquet that are read together."""
MENDING = "bring it back (dvc checkout, dvc pull), or delete it: what the store lacks is then asked anew"
IDS = pa.dictionary(pa.int32(), pa.string())
ANSWERS = pa.schema(
    [
        ("image_id", IDS),
        ("question_id", IDS),
        ("z_yes", pa.float32()),
        ("z_no", pa.float32()),
        ("p_yes", pa.float32()),
        ("exact", pa.bool_()),
    ]
)
BOUNDED = pa.schema([*ANSWERS, ("p_lo", pa.float32()), ("p_hi", pa.float32())])
"""Where a server told no more than an interval of some answers."""


@dataclass(frozen=True)
class Tables:
    """The files that the stage `extract_logits` writes."""

    aspects: Path
    answers: Path
    zero_shot: Path


def write_given_tables(manifest: pd.DataFrame, asked: pd.DataFrame, given: pd.DataFrame, out: Tables) -> None:
    """All tables from given answers (makd/given_answers.py), of which the images `asked` have theirs."""
    reader = GivenReader(given, asked)
    write_p_yes(manifest, list(given.columns), reader, out.aspects)
    write_p_yes(manifest[:0], [], reader, out.zero_shot)
    write_answers(None, [reader], out.answers)


def write_p_yes(
    manifest: pd.DataFrame, columns: Sequence[str], reader: BlockReader, path: Path, widest: float = 0.0
) -> None:
    """The manifest's rows and columns, then P(yes) of each question; null without an answer.

    Args:
        manifest: every image of the dataset. Those that the reader does not look at get nulls.
        columns: names for the reader's questions, in its order.
        reader: of what the store knows, or of given answers.
        path: the Parquet file to write.
        widest: interval of P(yes) whose middle still stands for it; a wider one is null.
    """
    at = reader.image_ids.get_indexer(manifest["image_id"])
    schema = pa.schema([*SCHEMA, *(pa.field(name, pa.float32()) for name in columns)])
    step = block_images(len(columns))
    with parquet_writer(schema, path, repeated=SCHEMA.names) as writer:
        for start in range(0, len(manifest), step):
            rows = slice(start, start + step)
            keys = pa.Table.from_pandas(manifest.iloc[rows], schema=SCHEMA, preserve_index=False)
            p_yes = reader.read(at[rows]).target(widest)
            values = [pa.array(column, from_pandas=True) for column in p_yes.T]
            writer.write_table(pa.table([*keys.columns, *values], schema=schema), row_group_size=step)


def write_answers(store_key: str | None, readers: Sequence[BlockReader], path: Path) -> None:
    """data/answers.parquet: a row an answer, with the key of the store that it came from, if from any."""
    columns = BOUNDED if any(reader.bounded for reader in readers) else ANSWERS
    schema = columns.with_metadata({STORE_KEY: store_key}) if store_key else columns
    with parquet_writer(schema, path, repeated=["image_id", "question_id"]) as writer:
        for reader in readers:
            for rows, answers in reader.blocks():
                writer.write_table(long_table(reader.image_ids[rows], reader.question_ids, answers, columns))


def long_table(image_ids: pd.Index, question_ids: pd.Index, answers: Answers, schema: pa.Schema) -> pa.Table:
    """The answers that there are, by image, then by question."""
    at = row, column = np.nonzero(~answers.missing)
    ids = [
        pa.DictionaryArray.from_arrays(pa.array(code, pa.int32()), pa.array(names, pa.string()))
        for code, names in ((row, image_ids), (column, question_ids))
    ]
    logits = [pa.array(z[at], from_pandas=True) for z in (answers.z_yes, answers.z_no)]
    exact = ~(np.isnan(answers.z_yes[at]) | np.isnan(answers.z_no[at]))
    p_yes = pa.array(answers.p_yes[at], from_pandas=True)
    bounds = answers.bounds or [np.full_like(answers.z_yes, np.nan)] * 2
    of_bounds = [pa.array(one[at], from_pandas=True) for one in bounds] if len(schema) > len(ANSWERS) else []
    return pa.table([*ids, *logits, p_yes, pa.array(exact), *of_bounds], schema=schema)


def import_answers(path: Path, store: AnswerStore) -> int:
    """Put the answers of an earlier data/answers.parquet into `store` where it lacks them; returns how many.

    So a fresh clone with `dvc pull`, or a deleted store, asks nothing twice. Answers of another scorer are left alone.
    Of several processes one imports, the others wait and find nothing to import.

    Raises:
        UserError: the file is damaged. Nobody pays for its answers a second time without having said so.
    """
    if not path.exists():
        return 0
    schema = read_schema(path, mending=MENDING)
    if (schema.metadata or {}).get(STORE_KEY) != store.key.encode():
        return 0
    with store.turn():
        return import_lacking(path, [name for name in (*LOGITS, *BOUNDS) if name in schema.names], store)


def import_lacking(path: Path, columns: list[str], store: AnswerStore) -> int:
    """Of these columns; returns how many answers the store had not."""
    imported = 0
    image_ids, question_ids = (distinct(path, name) for name in ("image_id", "question_id"))
    reader = store.reader(image_ids, question_ids)
    for batch in read_in_batches(path, IMPORTED_ROWS, ["image_id", "question_id", *columns], mending=MENDING):
        table = batch.to_pandas()
        row, images = pd.factorize(reader.image_ids.get_indexer(table["image_id"]))
        column = reader.question_ids.get_indexer(table["question_id"])
        wide = np.full((len(images), len(question_ids), len(columns)), np.nan, np.float32)
        wide[row, column] = table[columns]
        wide[~reader.read(images).missing] = np.nan
        lacking = ~Answers.of(wide).missing.all(axis=1)
        if lacking.any():
            fresh = Answers.of(wide[lacking])
            store.add(list(reader.image_ids[images[lacking]]), question_ids, fresh)
            imported += int((~fresh.missing).sum())
    return imported


def distinct(path: Path, name: str) -> list[str]:
    """The values of a column of strings, in the order of their first rows."""
    found: dict[str, None] = {}
    for batch in read_in_batches(path, IMPORTED_ROWS, [name], mending=MENDING):
        found |= dict.fromkeys(batch.column(0).unique().to_pylist())
    return list(found)
