"""Whose a user's own answers are: from the names in a file to the images and classes of the manifest."""

from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from makd.answer_files import AnswerTable, plain, read_answer_file
from makd.errors import UserError, some
from makd.extraction_params import ExtractLogitsParams
from makd.given_answers import no_answers


def own_answers(
    file: Path, questions_file: Path | None, manifest: pd.DataFrame, root: Path, left_out: list[str]
) -> pd.DataFrame:
    """P(yes) by image_id or class_name, as makd/given_answers.py describes it.

    Args:
        file: of the answers; `makd.answer_files.read_answer_file` says what it may be.
        questions_file: the questions of a JSON.
        manifest: the images there are.
        root: the folder that relative paths may start from, besides the project.
        left_out: paths that are not in the manifest because they cannot be read. Answers about them are left out too.

    Raises:
        UserError: what is wrong with the file, the first row that it is wrong in, and what to do.
    """
    table = read_answer_file(file, questions_file, set(map(plain, manifest["class_name"])))
    index = "class_name" if table.by == "class_name" else "image_id"
    answers = table.p_yes.set_axis(pd.Index(owners(table, manifest, root, left_out), dtype=object, name=index))
    check_repeats(answers, table)
    return answers[answers.index.notna() & ~answers.index.duplicated()]


def answers_to_use(
    block: ExtractLogitsParams | None, rows: pd.DataFrame, root: Path, left_out: list[str]
) -> pd.DataFrame:
    """The user's own answers if they are to be used, else none; says which images and classes have none.

    Raises:
        UserError: as `own_answers`.
    """
    if block is None or block.backend != "table":
        return no_answers()
    assert block.table, "ExtractLogitsParams has seen to it"
    answers = own_answers(block.table, block.table_questions, rows, root, left_out)
    answered = answers.index[answers.notna().any(axis=1)]
    without = list(rows.loc[~rows[answers.index.name].isin(answered), "path"])
    named = f" ({some(without)})" if without else ""
    print(f"{block.table}: {answers.shape[1]} questions; {len(without)} of {len(rows)} images have no answers{named}")
    if lacking := sorted(set(rows["class_name"]) - set(rows["class_name"][rows[answers.index.name].isin(answered)])):
        print(f"{block.table}: no answers for any image of {some(lacking)}")
    return answers


def owners(table: AnswerTable, manifest: pd.DataFrame, root: Path, left_out: list[str]) -> list[str | None]:
    """The image_id or class_name of each row; None for an image that is left out."""
    images = pd.concat([manifest, pd.DataFrame({"path": left_out, "image_id": None})], ignore_index=True)
    match table.by:
        case "class_name":
            spelled, ids = manifest["class_name"].map(plain), manifest["class_name"]
        case "stem":
            spelled, ids = images["path"].map(lambda path: PurePath(path).stem), images["image_id"]
        case by:
            spelled, ids = images[by], images["image_id"]
    pairs = pd.DataFrame({"name": spelled, "id": ids}).drop_duplicates()
    known: dict[str, str | None] = dict(zip(pairs["name"], pairs["id"].where(pairs["id"].notna(), None), strict=True))
    ambiguous = set(pairs.loc[pairs["name"].duplicated(), "name"])
    found = []
    for row, name in enumerate(table.names):
        key = next((spelling for spelling in spellings(name, table.by, root) if spelling in known), None)
        if key is None:
            raise UserError(f"{table.place(row)}: {unknown(table.by, manifest)}; remove the row, or mend the name")
        if key in ambiguous:
            what = "classes are" if table.by == "class_name" else "images are"
            raise UserError(f"{table.place(row)}: several {what} called so; give a CSV or Parquet with a column path")
        found.append(known[key])
    return found


def spellings(name: str, by: str, root: Path) -> Iterator[str]:
    """What a name in the file may be in the manifest."""
    yield plain(name) if by == "class_name" else name
    if by == "path":
        yield PurePath(name).as_posix()  # ./a.jpg is a.jpg
        yield (root / name).as_posix()


def unknown(by: str, manifest: pd.DataFrame) -> str:
    first = manifest.iloc[0]
    match by:
        case "class_name":
            return f"no class is called so; one is {first['class_name']}"
        case "stem":
            return f"no image is called so; one is {PurePath(first['path']).stem} (by class, all names are classes)"
        case _:
            return f"no image has this {by}; one has {first[by]}"


def check_repeats(answers: pd.DataFrame, table: AnswerTable) -> None:
    """Two rows about the same may stand if they say the same: a picture may be there twice."""
    first = {owner: row for row, owner in reversed(list(enumerate(answers.index)))}
    for row in np.flatnonzero(answers.index.duplicated() & answers.index.notna()).tolist():
        earlier = first[answers.index[row]]
        if not answers.iloc[row].equals(answers.iloc[earlier]):
            raise UserError(
                f"{table.place(row)} and row {table.first_row + earlier} ({table.names[earlier]}) are about the same "
                "and differ; keep one"
            )
