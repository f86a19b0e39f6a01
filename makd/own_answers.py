"""Answers that the user brings along: read, checked against the images, and brought into one form.

A table with a row an image (`image_id` or `path`, then a column a question), with a row a class (`class_name`), or the
JSON of the paper's authors, {image's file name without its extension: [q of each question]}. Then no LLM is asked.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from makd.errors import UserError
from makd.files import main_checkout, read_schema, write_parquet
from makd.manifest import SCHEMA

KEYS = ("image_id", "path", "class_name")
"""What a row may be about; the first that a table has counts."""
MENDING = "run: dvc repro prepare_dataset"


def read_own_answers(table: Path, questions: Path | None, images: pd.DataFrame) -> pd.DataFrame:
    """P(yes) of each question in [0, 1], float32, for the rows of `images`; NaN where there is no answer.

    Args:
        table: Parquet, CSV or JSON; relative paths start from the project.
        questions: the texts of the questions of a JSON: a line each, or a JSON list. Without it they are called
            aspect_00, aspect_01, ...
        images: the manifest's columns.

    Raises:
        UserError: an image or class that does not exist, or stands twice; a value that is no number in [0, 1].
    """
    file = main_checkout() / table
    if not file.is_file():
        raise UserError(f"own_answers.table: {table} is not a file; give a Parquet, CSV or JSON of answers")
    if file.suffix == ".json":
        rows = read_json(file, questions, images)
    else:
        if questions is not None:
            raise UserError(f"own_answers.questions is for a JSON; the columns of {table} are the questions; set null")
        rows = read_columns(file)
    key = str(rows.index.name)
    if key == "path":
        rows.index = pd.Index(as_in_manifest(list(rows.index), file, images), name=key)
    check_rows(rows, images, table)
    check_values(rows, table)
    return rows.reindex(images[key]).set_axis(images.index).astype(np.float32)


def read_columns(file: Path) -> pd.DataFrame:
    """The questions' columns, indexed by what the rows are about. What the manifest knows as well is left out."""
    try:
        whole = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file, dtype={k: str for k in KEYS})
    except (OSError, ValueError) as error:  # pyarrow's and pandas' errors are one or the other
        raise UserError(f"own_answers.table: {file} cannot be read: {' '.join(str(error).split())}") from None
    key = next((name for name in KEYS if name in whole), None)
    if key is None:
        raise UserError(
            f"own_answers.table: {file} has none of the columns {', '.join(KEYS)}; name what a row is about"
        )
    rows = whole.set_index(key).drop(columns=[name for name in SCHEMA.names if name in whole and name != key])
    if rows.columns.empty:
        raise UserError(f"own_answers.table: {file} has no column besides {key}; expected one a question")
    return rows


def read_json(file: Path, questions: Path | None, images: pd.DataFrame) -> pd.DataFrame:
    """As `read_columns`, by path."""
    try:
        answers = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"own_answers.table: {file} is no JSON: {error}") from None
    if not isinstance(answers, dict) or not all(isinstance(values, list) for values in answers.values()):
        raise UserError(f"own_answers.table: {file} must be an object of lists, {{image: [q, ...]}}")
    lengths = {len(values): stem for stem, values in answers.items()}
    if len(lengths) != 1:
        some = ", ".join(f"{n} ({stem})" for n, stem in sorted(lengths.items())[:3])
        raise UserError(f"own_answers.table: the lists in {file} must be equally long, got {some or 'none'}")
    [n_questions] = lengths
    paths = images.drop_duplicates("path").assign(stem=lambda rows: rows["path"].map(lambda path: Path(path).stem))
    twice = paths[paths["stem"].isin(answers) & paths.duplicated("stem", keep=False)]
    if len(twice):
        raise UserError(
            f"own_answers.table: {file} knows images by name, but {twice['path'].iloc[0]} and another share the name "
            f"{twice['stem'].iloc[0]}; give a table with a path column"
        )
    path_of = paths.set_index("stem")["path"]
    keys = [path_of.get(stem, stem) for stem in answers]
    columns = question_texts(questions, n_questions)
    return pd.DataFrame(list(answers.values()), pd.Index(keys, name="path"), columns)


def question_texts(questions: Path | None, n: int) -> list[str]:
    if questions is None:
        return [f"aspect_{number:02}" for number in range(n)]
    try:
        text = (main_checkout() / questions).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"own_answers.questions: {questions} cannot be read: {error.strerror}") from None
    lines = json.loads(text) if questions.suffix == ".json" else [line.strip() for line in text.splitlines()]
    texts = [str(line) for line in lines if line]
    if len(texts) != n or len(set(texts)) != n:
        raise UserError(
            f"own_answers.questions: {questions} has {len(texts)} questions, {len(set(texts))} different ones; "
            f"own_answers.table has {n} answers an image"
        )
    return texts


def as_in_manifest(paths: Sequence[str], file: Path, images: pd.DataFrame) -> list[str]:
    """Paths as the manifest has them; they may be relative to the table's folder too."""
    known = {path: path for path in images["path"]}
    known |= {str((main_checkout() / path).resolve()): path for path in images["path"]}
    return [known.get(path) or known.get(str((file.parent / path).resolve())) or path for path in paths]


def check_rows(rows: pd.DataFrame, images: pd.DataFrame, table: Path) -> None:
    key = str(rows.index.name)
    unknown = rows.index[~rows.index.isin(images[key])]
    if len(unknown):
        raise UserError(
            f"own_answers.table: {table} has {len(unknown)} rows whose {key} is none of the dataset's, the first is "
            f"{unknown[0]!r}; remove or mend them"
        )
    twice = rows.index[rows.index.duplicated()]
    if len(twice):
        raise UserError(f"own_answers.table: {table} has two rows for {key} {twice[0]!r}; keep one")


def check_values(rows: pd.DataFrame, table: Path) -> None:
    for question in rows.columns:
        values = pd.to_numeric(rows[question], errors="coerce")
        bad = (values.isna() & rows[question].notna()) | (values < 0) | (values > 1)
        if bad.any():
            at, got = rows.index[bad][0], rows.loc[bad, question].iloc[0]
            shown = repr(got) if isinstance(got, str) else f"{got}"
            raise UserError(
                f"own_answers.table: {table} has {shown} in column {question!r}, row {at!r}; "
                "expected P(yes) from 0 to 1, or nothing"
            )
        rows[question] = values


def write_own_answers(answers: pd.DataFrame | None, images: pd.DataFrame, path: Path) -> None:
    """data/own_answers.parquet: an image_id, then the questions; of the manifest's images in its order, or empty."""
    if answers is None:
        write_parquet(pa.table({"image_id": pa.array([], pa.string())}), path)
        return
    columns = {"image_id": pa.array(images["image_id"])}
    columns |= {name: pa.array(answers[name].to_numpy(), pa.float32(), from_pandas=True) for name in answers.columns}
    write_parquet(pa.table(columns), path)


def own_questions(path: Path | None) -> list[str]:
    """The questions of data/own_answers.parquet, the best first; none where an LLM is to be asked."""
    return [] if path is None else [name for name in read_schema(path, mending=MENDING).names if name != "image_id"]


def coverage(answers: pd.DataFrame) -> str:
    """What there is, in one line."""
    answered = answers.notna()
    return (
        f"own answers to {answers.shape[1]} questions for {int(answered.any(axis=1).sum())} of {len(answers)} images"
        f"{'' if answered.all(axis=None) else f', {1 - float(answered.to_numpy().mean()):.1%} of the answers missing'}"
    )
