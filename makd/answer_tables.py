"""The finished tables: what the store knows of the wanted images and questions, in a stable order."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from makd.files import write_parquet
from makd.manifest import SCHEMA
from makd.questions import Question
from makd.store import Answers, AnswerStore

STORE_KEY = b"makd.store_key"


def write_aspects(
    manifest: pd.DataFrame, image_ids: pd.Index, questions: list[Question], answers: Answers, path: Path
) -> None:
    """data/aspects.parquet: the manifest's rows and columns, then P(yes) of each question; null without an answer.

    Args:
        manifest: every image of the dataset.
        image_ids: distinct; the rows of `answers`. Images that are not among them get nulls.
        questions: the columns of `answers`.
        answers: what the store knows.
        path: the Parquet file to write.
    """
    rows = image_ids.get_indexer(manifest["image_id"])
    p_yes = np.where((rows >= 0)[:, None], answers.p_yes[rows], np.nan).astype(np.float32)
    table = pa.Table.from_pandas(manifest, schema=SCHEMA, preserve_index=False).replace_schema_metadata(None)
    for column, question in enumerate(questions):
        table = table.append_column(question.text, pa.array(p_yes[:, column], from_pandas=True))
    write_parquet(table, path)


def write_answers(store_key: str, image_ids: pd.Index, questions: list[Question], answers: Answers, path: Path) -> None:
    """data/answers.parquet: a row an answer, with the key of the store that it came from."""
    row, column = np.nonzero(~answers.missing)
    ids = pa.array([question.id for question in questions], pa.string())
    table = pa.table(
        {
            "image_id": pa.DictionaryArray.from_arrays(pa.array(row, pa.int32()), pa.array(image_ids, pa.string())),
            "question_id": pa.DictionaryArray.from_arrays(pa.array(column, pa.int32()), ids),
            "z_yes": answers.z_yes[row, column],
            "z_no": answers.z_no[row, column],
            "p_yes": answers.p_yes[row, column],
            "exact": np.ones(len(row), bool),
        }
    )
    write_parquet(table.replace_schema_metadata({STORE_KEY: store_key}), path)


def import_answers(path: Path, store: AnswerStore) -> int:
    """Put the answers of an earlier data/answers.parquet into `store` where it lacks them; returns how many.

    So a fresh clone with `dvc pull`, or a deleted store, asks nothing twice. Answers of another scorer are left alone.
    """
    if not path.exists() or (pq.read_schema(path).metadata or {}).get(STORE_KEY) != store.key.encode():
        return 0
    table = pd.read_parquet(path)
    image_ids, question_ids = pd.Index(table["image_id"].unique()), pd.Index(table["question_id"].unique())
    wide = Answers(*(np.full((len(image_ids), len(question_ids)), np.nan, np.float32) for _ in range(2)))
    place = image_ids.get_indexer(table["image_id"]), question_ids.get_indexer(table["question_id"])
    wide.z_yes[place], wide.z_no[place] = table["z_yes"], table["z_no"]
    known = ~store.read(list(image_ids), list(question_ids)).missing
    for values in (wide.z_yes, wide.z_no):
        values[known] = np.nan
    imported = int((~wide.missing).sum())
    if imported:
        store.add(list(image_ids), list(question_ids), wide)
    return imported
