"""Answers that no store holds, for nobody was paid for them image by image: a user's own, or a text LLM's by class.

In memory they are a table: a column a question, P(yes) in [0, 1] as float32 or NaN, and an index of distinct ids that
is named "image_id" or "class_name". In the second case every image of the class has its class's answers.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from makd.errors import UserError
from makd.files import parquet_errors, read_schema, write_parquet

MENDING = "run: dvc repro"


def write_given(answers: pd.DataFrame, path: Path) -> None:
    """The id, then a column a question; equal answers give equal bytes."""
    table = answers.sort_index().reset_index()
    write_parquet(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), path)


def no_answers() -> pd.DataFrame:
    """What is given where another back-end answers: no row and no question."""
    return pd.DataFrame(index=pd.Index([], dtype=str, name="image_id"))


def given_questions(path: Path) -> list[str]:
    """The questions of the given answers in their order; none where another back-end answers."""
    return list(read_schema(path, mending=MENDING).names[1:])


def read_given(path: Path, questions: Sequence[str]) -> pd.DataFrame:
    """The given answers to these questions.

    Raises:
        UserError: the file is damaged or does not have them.
    """
    key = read_schema(path, mending=MENDING).names[0]
    if lacking := sorted(set(questions) - set(given_questions(path))):
        raise UserError(f"{path} has no answers to {lacking[0]!r}; run: dvc repro")
    with parquet_errors(path, MENDING):
        return pq.read_table(path, columns=[key, *questions]).to_pandas().set_index(key)
