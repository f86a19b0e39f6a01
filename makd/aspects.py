"""The aspect table: P(yes) of every question for every image, as data/aspects.parquet holds it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.errors import UserError
from makd.files import parquet_errors, read_in_batches, read_schema

KEY_COLUMNS = ("image_id", "path", "split", "label", "class_name")
BATCH_ROWS = 2**15
"""Rows of the table that are read together."""
MENDING = "run: dvc repro extract_logits"

PYes = npt.NDArray[np.float32]


def read_aspects(path: Path) -> pd.DataFrame:
    """KEY_COLUMNS, then a float32 column a question, named by its text; NaN where there is no answer."""
    with parquet_errors(path, MENDING):
        table = pd.read_parquet(path)
    for question in question_columns(table):
        check_p_yes(table[question].to_numpy(), question, path)
    return table


def check_p_yes(values: npt.NDArray[np.floating], question: str, path: Path) -> None:
    """Refuse a value that is neither in [0, 1] nor NaN: its loss has no lower bound."""
    outside = values[(values < 0) | (values > 1)]
    if len(outside):
        raise UserError(f"{path}: {outside[0]:g} in column {question!r}, expected 0 to 1, or null; {MENDING}")


def question_columns(table: pd.DataFrame) -> list[str]:
    """The question texts, in rank order."""
    return [column for column in table.columns if column not in KEY_COLUMNS]


def asked_questions(path: Path) -> list[str]:
    """The question texts of an aspect table, in rank order, without its rows."""
    schema = read_schema(path, mending=MENDING)
    return question_columns(schema.empty_table().to_pandas())  # as pandas sees them: an index is none


def questions_in_use(path: Path, n_questions: int) -> list[str]:
    """`asked_questions`, of which there must be as many as the params say.

    Raises:
        UserError: more, or fewer.
    """
    questions = asked_questions(path)
    if len(questions) != n_questions:
        raise UserError(f"{path} has {len(questions)} questions, n_questions is {n_questions}; {MENDING}")
    return questions


def p_yes_matrix(path: Path, image_ids: pd.Series) -> PYes:
    """P(yes) of the images, shape (images, Q), in [0, 1] or NaN, in the order of `image_ids`.

    Read in batches: the matrix is all that is held of a table that may be larger.

    Raises:
        UserError: a damaged file, a value outside [0, 1], an image without a row at all (a row of nulls is fine).
    """
    questions = asked_questions(path)
    wanted = pd.Index(image_ids.unique())
    p_yes = np.full((len(wanted), len(questions)), np.nan, np.float32)
    has_row = np.zeros(len(wanted), np.bool_)
    for batch in read_in_batches(path, BATCH_ROWS, ["image_id", *questions], mending=MENDING):
        rows = wanted.get_indexer(batch.column("image_id").to_pandas())
        here = np.flatnonzero(rows >= 0)
        for column, question in enumerate(questions):
            values = batch.column(question).to_numpy(zero_copy_only=False)
            check_p_yes(values, question, path)
            p_yes[rows[here], column] = values[here]
        has_row[rows[here]] = True
    if not has_row.all():
        missing = image_ids[image_ids.isin(wanted[~has_row])]
        raise UserError(
            f"{path} has no row for {len(missing)} of {len(image_ids)} images, the first is {missing.iloc[0]}; "
            f"{MENDING}"
        )
    return p_yes if len(wanted) == len(image_ids) else p_yes[wanted.get_indexer(image_ids)]
