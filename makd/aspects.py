"""The aspect table: P(yes) of every question for every image, as data/aspects.parquet holds it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from makd.errors import UserError
from makd.files import read_in_batches

KEY_COLUMNS = ("image_id", "path", "split", "label", "class_name")
BATCH_ROWS = 2**15
"""Rows of the table that are read together."""


def read_aspects(path: Path) -> pd.DataFrame:
    """KEY_COLUMNS, then a float32 column a question, named by its text; NaN where there is no answer."""
    return pd.read_parquet(path)


def question_columns(table: pd.DataFrame) -> list[str]:
    """The question texts, in rank order."""
    return [column for column in table.columns if column not in KEY_COLUMNS]


def asked_questions(path: Path) -> list[str]:
    """The question texts of an aspect table, in rank order, without its rows."""
    return question_columns(pq.read_schema(path).empty_table().to_pandas())  # as pandas sees them: an index is none


def p_yes_matrix(path: Path, image_ids: pd.Series) -> npt.NDArray[np.float32]:
    """P(yes) of the images, shape (images, Q), in [0, 1] or NaN, in the order of `image_ids`.

    Read in batches: the matrix is all that is held of a table that may be larger.

    Raises:
        UserError: an image has no row at all (a row of nulls is fine).
    """
    questions = asked_questions(path)
    wanted = pd.Index(image_ids.unique())
    p_yes = np.full((len(wanted), len(questions)), np.nan, np.float32)
    has_row = np.zeros(len(wanted), np.bool_)
    with pq.ParquetFile(path) as file:
        for batch in read_in_batches(file, BATCH_ROWS, ["image_id", *questions]):
            rows = wanted.get_indexer(batch.column("image_id").to_pandas())
            here = np.flatnonzero(rows >= 0)
            for column, question in enumerate(questions):
                p_yes[rows[here], column] = batch.column(question).to_numpy(zero_copy_only=False)[here]
            has_row[rows[here]] = True
    if not has_row.all():
        missing = image_ids[image_ids.isin(wanted[~has_row])]
        raise UserError(
            f"{path} has no row for {len(missing)} of {len(image_ids)} images, the first is {missing.iloc[0]}; "
            "run: dvc repro extract_logits"
        )
    return p_yes if len(wanted) == len(image_ids) else p_yes[wanted.get_indexer(image_ids)]
