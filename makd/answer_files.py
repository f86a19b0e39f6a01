"""A user's own answers as they lie in a file: a CSV or Parquet table, or JSON of {name: [P(yes), ...]}."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from makd.aspects import KEY_COLUMNS
from makd.errors import UserError
from makd.files import main_checkout

NAMED_BY = ("image_id", "path", "class_name")
"""The columns that say whose answers a row holds; the first of them that is there does."""
NOTHING = frozenset(pa.csv.ConvertOptions().null_values)
"""Cells that stand for no answer: empty, NA, null ..."""


@dataclass(frozen=True)
class AnswerTable:
    """The answers of a file, row by row.

    Attributes:
        file: where they are from, for messages.
        first_row: the number of the first row, as an editor counts: the header of a CSV is row 1.
        by: what the rows are named by: one of NAMED_BY, or "stem", an image's file name without folder and suffix.
        names: of the rows.
        p_yes: a column a question; float32 in [0, 1], or NaN.
    """

    file: Path
    first_row: int
    by: str
    names: list[str]
    p_yes: pd.DataFrame

    def place(self, row: int) -> str:
        """For messages: the file, and the row as a person finds it."""
        return f"{self.file}, row {self.first_row + row} ({self.names[row]})"


def read_answer_file(file: Path, questions_file: Path | None, is_class: "set[str]") -> AnswerTable:
    """Read `file`, absolute or relative to the project; its suffix says what it is.

    Args:
        file: .json, .parquet, or else CSV.
        questions_file: the questions of a JSON; without it they are called aspect_00, aspect_01 ...
        is_class: the names of the classes, as `plain` makes them; a JSON that names nothing else is one by class.

    Raises:
        UserError: no such file, another format, a cell that is no number in [0, 1], lists of different lengths.
    """
    if not (main_checkout() / file).is_file():
        raise UserError(f"extract_logits.table: {file} is not a file; give a CSV, Parquet or JSON of answers")
    if file.suffix.lower() == ".json":
        first_row, by, names, cells = read_json(file, questions_file, is_class)
    elif questions_file is not None:
        raise UserError(f"extract_logits.table_questions is for a JSON, but {file} names its questions; set it to null")
    else:
        first_row, by, names, cells = read_columns(file)
    check_questions(list(cells.columns), file)
    unchecked = AnswerTable(file, first_row, by, names, cells)
    return AnswerTable(file, first_row, by, names, as_numbers(unchecked))


def read_columns(file: Path) -> tuple[int, str, list[str], pd.DataFrame]:
    """First row, by, names and cells of a CSV or Parquet table."""
    try:
        if file.suffix.lower() == ".parquet":
            first_row, table = 1, pd.read_parquet(main_checkout() / file)
            if table.index.name:
                table = table.reset_index()
        else:
            text = pa.csv.ConvertOptions(column_types=dict.fromkeys(KEY_COLUMNS, pa.string()))
            by_row = pa.csv.ReadOptions(use_threads=False)  # only then an error says in which row
            found = pa.csv.read_csv(main_checkout() / file, read_options=by_row, convert_options=text)
            first_row, table = 2, found.to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
        raise UserError(f"{file} cannot be read as a table: {' '.join(str(error).split())}") from None
    table.columns = [str(name).strip() for name in table.columns]
    by = next((name for name in NAMED_BY if name in table.columns), None)
    if by is None or list(table.columns).count(by) > 1:
        raise UserError(
            f"{file} needs one column that says whose answers a row holds: {', '.join(NAMED_BY)}; it has "
            f"{', '.join(table.columns[:5])}"
            + ("; its columns must be separated by commas" if ";" in table.columns[0] else "")
        )
    is_answer = [name not in KEY_COLUMNS for name in table.columns]
    return first_row, by, list(table[by].astype(str)), table.loc[:, is_answer]


def read_json(file: Path, questions_file: Path | None, is_class: set[str]) -> tuple[int, str, list[str], pd.DataFrame]:
    """The same of the format of the paper's authors, {image stem: [P(yes), ...]}, or of such lists by class."""
    try:  # in pairs: of two entries of one name, a dict would silently keep the second
        pairs = json.loads((main_checkout() / file).read_text(encoding="utf-8-sig"), object_pairs_hook=Pairs)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(pairs, Pairs) or not pairs or not all(isinstance(values, list) for _, values in pairs):
        raise UserError(f"{file} must be one object with a list of answers for each name of an image or a class")
    names = [name for name, _ in pairs]
    questions = read_question_file(questions_file) if questions_file else None
    n_questions, source = len(pairs[0][1]), f"row 1 ({names[0]})"
    if questions:
        n_questions, source = len(questions), str(questions_file)
    for row, (name, values) in enumerate(pairs, start=1):
        if len(values) != n_questions:
            raise UserError(f"{file}, row {row} ({name}) has {len(values)} answers, but {source} has {n_questions}")
    columns = questions or [f"aspect_{number:02d}" for number in range(n_questions)]
    by = "class_name" if is_class.issuperset(map(plain, names)) else "stem"
    return 1, by, names, pd.DataFrame([values for _, values in pairs], columns=columns)


class Pairs(list[tuple[str, Any]]):
    """A JSON object, distinct from a JSON list."""


def read_question_file(file: Path) -> list[str]:
    """A question a line, or a JSON list of questions."""
    name = f"extract_logits.table_questions: {file}"
    try:
        text = (main_checkout() / file).read_text(encoding="utf-8-sig")
        found = json.loads(text) if file.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{name} cannot be read: {error}") from None
    if not isinstance(found, list) or not all(isinstance(question, str) for question in found):
        raise UserError(f"{name} must hold a JSON list of questions, or a question a line")
    questions = [question.strip() for question in found if question.strip()]
    if not questions:
        raise UserError(f"{name} has no question")
    return questions


def plain(class_name: str) -> str:
    """Two spellings of a class that people take for the same are: American_Bulldog, american bulldog."""
    return class_name.replace("_", " ").casefold()


def check_questions(questions: Sequence[str], file: Path) -> None:
    """Each becomes the name of a column of the aspect table."""
    if not questions:
        raise UserError(f"{file} has no answers; expected a column a question")
    for number, question in enumerate(questions, start=1):
        if not question or question in KEY_COLUMNS:
            raise UserError(f"{file}: question {number} is called {question!r}; give it another name")
        if (first := questions.index(question) + 1) < number:
            raise UserError(f"{file}: questions {first} and {number} are the same, {question!r}; keep one")


def as_numbers(table: AnswerTable) -> pd.DataFrame:
    """The cells as float32; NaN where there is no answer."""
    columns = {}
    for question, cells in table.p_yes.items():
        values = cells if pd.api.types.is_numeric_dtype(cells) else cells.map(as_number)
        columns[question] = numbers = values.to_numpy(dtype=np.float32, na_value=np.nan)
        outside = np.flatnonzero((numbers < 0) | (numbers > 1))
        if len(outside):
            row = int(outside[0])
            raise UserError(
                f"{table.place(row)}, column {question!r}: got {str(cells.iloc[row])[:60]!r}, "
                "expected a number from 0 to 1, or nothing"
            )
    return pd.DataFrame(columns)


def as_number(cell: Any) -> float:
    """NaN for nothing, and infinity, which no answer can be, for what is no number."""
    if cell is None or (isinstance(cell, str) and cell.strip() in NOTHING):
        return np.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        return np.inf
