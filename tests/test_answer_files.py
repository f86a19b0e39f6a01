"""A user's own answers as files: what is read, and what each mistake is said to be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from makd.answer_files import read_answer_file
from makd.answer_owners import own_answers
from makd.errors import UserError

QUESTIONS = ["Does it bark?", "Is it big?"]
MANIFEST = pd.DataFrame(
    {
        "image_id": ["1a", "2b", "3c", "4d"],
        "path": ["pets/cat/tom.1.jpg", "pets/cat/kit.png", "pets/Big_Dog/rex.jpg", "/elsewhere/fido.jpg"],
        "split": ["train", "test", "train", "test"],
        "label": [1, 1, 0, 0],
        "class_name": ["cat", "cat", "Big_Dog", "Big_Dog"],
    }
)
TWINS = pd.concat([MANIFEST, MANIFEST[:1].assign(image_id="5e", path="pets/cat/more/kit.jpg")], ignore_index=True)


@pytest.fixture(autouse=True)
def in_an_empty_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def own(file: str, questions: str | None = None, manifest: pd.DataFrame = MANIFEST, **left_out: Any) -> pd.DataFrame:
    unreadable = left_out.get("left_out", [])
    return own_answers(Path(file), Path(questions) if questions else None, manifest, Path("pets"), unreadable)


def csv(*lines: str) -> str:
    Path("answers.csv").write_text("\n".join(lines) + "\n")
    return "answers.csv"


def as_json(value: Any) -> str:
    Path("answers.json").write_text(value if isinstance(value, str) else json.dumps(value))
    return "answers.json"


def test_a_csv_names_images_by_the_path_of_the_manifest_or_from_the_root() -> None:
    file = csv(
        "path,Does it bark?, Is it big?", "cat/tom.1.jpg,0.25,1", "/elsewhere/fido.jpg,,0", "pets/cat/kit.png,0,NA"
    )
    got = own(file)
    assert got.index.name == "image_id"
    assert list(got.index) == ["1a", "4d", "2b"]
    assert list(got.columns) == QUESTIONS
    assert set(got.dtypes.astype(str)) == {"float32"}
    np.testing.assert_array_equal(got, np.array([[0.25, 1], [np.nan, 0], [0, np.nan]], np.float32))


def test_an_aspect_table_of_another_run_is_read_as_it_is() -> None:
    table = MANIFEST.assign(path="of another machine", **dict.fromkeys(QUESTIONS, np.float32(0.5)))
    table.to_parquet("aspects.parquet")
    got = own("aspects.parquet")
    assert list(got.index) == list(MANIFEST["image_id"])
    assert list(got.columns) == QUESTIONS


def test_a_table_by_class_takes_the_spelling_that_people_use() -> None:
    got = own(csv("class_name,Does it bark?", "big dog,1", "CAT,0"))
    assert got.index.name == "class_name"
    assert got["Does it bark?"].to_dict() == {"Big_Dog": 1.0, "cat": 0.0}


def test_json_is_by_stem_and_its_questions_have_numbers() -> None:
    got = own(as_json({"tom.1": [0.1, 0.2], "rex": [0.3, None]}))
    assert got.index.name == "image_id"
    assert list(got.index) == ["1a", "3c"]
    assert list(got.columns) == ["aspect_00", "aspect_01"]
    np.testing.assert_array_equal(got, np.array([[0.1, 0.2], [0.3, np.nan]], np.float32))


def test_json_whose_names_are_all_classes_is_by_class() -> None:
    got = own(as_json({"cat": [0.1], "big dog": [0.3]}))
    assert got.index.name == "class_name"
    assert list(got.index) == ["cat", "Big_Dog"]


@pytest.mark.parametrize(
    ("name", "text"), [("q.txt", "Does it bark?\n\n Is it big? \n"), ("q.json", json.dumps(QUESTIONS))]
)
def test_questions_of_a_json_have_a_file_of_their_own(name: str, text: str) -> None:
    Path(name).write_text(text)
    assert list(own(as_json({"rex": [0.1, 0.2]}), name).columns) == QUESTIONS


def test_a_class_may_be_called_na() -> None:
    manifest = MANIFEST.assign(class_name=["NA", "NA", "cat", "cat"])
    assert list(own(csv("class_name,Is it big?", "NA,1", "cat,0"), manifest=manifest).index) == ["NA", "cat"]


def test_rows_that_say_the_same_of_one_picture_count_once() -> None:
    copy = pd.concat([MANIFEST, MANIFEST[:1].assign(path="pets/cat/copy.jpg")], ignore_index=True)
    got = own(csv("path,Is it big?", "cat/tom.1.jpg,", "cat/copy.jpg,"), manifest=copy)
    assert list(got.index) == ["1a"]


def test_answers_about_images_that_are_left_out_are_left_out() -> None:
    lines = ["path,Is it big?", "cat/broken.jpg,0.5", "cat/tom.1.jpg,1"]
    assert list(own(csv(*lines), left_out=["pets/cat/broken.jpg"]).index) == ["1a"]
    assert list(own(as_json({"broken": [0.5], "rex": [1]}), left_out=["pets/cat/broken.jpg"]).index) == ["3c"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["path,Is it big?", "cat/tom.1.jpg,1", "cat/no.jpg,1"],
            r"answers.csv, row 3 \(cat/no.jpg\): no image has this path",
        ),
        (["image_id,Is it big?", "9z,1"], r"row 2 \(9z\): no image has this image_id; one has 1a"),
        (["class_name,Is it big?", "dog,1"], r"row 2 \(dog\): no class is called so; one is cat"),
        (
            ["path,Is it big?", "cat/kit.png,0.5", "cat/tom.1.jpg,1.5"],
            r"row 3 \(cat/tom.1.jpg\), column 'Is it big\?': got '1.5'",
        ),
        (["path,Is it big?", "cat/tom.1.jpg,-0.1"], r"column 'Is it big\?': got '-0.1', expected a number from 0 to 1"),
        (["path,Is it big?", "cat/tom.1.jpg,inf"], r"column 'Is it big\?': got 'inf'"),
        (["path,Is it big?", "cat/kit.png,", "cat/tom.1.jpg,yes"], r"row 3 .*column 'Is it big\?': got 'yes'"),
        (
            ["path,Is it big?", "cat/tom.1.jpg,1", "pets/cat/tom.1.jpg,0"],
            r"row 3 .* and row 2 .* about the same and differ",
        ),
        (["path,Is it big?", "cat/tom.1.jpg"], r"answers.csv cannot be read as a table: .*Expected 2 columns, got 1"),
        (["path,Is it big?", "cat/tom.1.jpg,1,1"], r"Row #2: Expected 2 columns, got 3"),
        (["path,Is it big?,Is it big?", "cat/tom.1.jpg,1,1"], r"questions 1 and 2 are the same, 'Is it big\?'"),
        (["path,", "cat/tom.1.jpg,1"], r"question 1 is called ''"),
        (["path,label", "cat/tom.1.jpg,1"], r"has no answers; expected a column a question"),
        (
            ["file,Is it big?", "cat/tom.1.jpg,1"],
            r"one column that says whose .*: image_id, path, class_name; it has file, Is",
        ),
        (["path,path,Is it big?", "cat/tom.1.jpg,a,1"], r"needs one column that says whose"),
        (["path;Is it big?", "cat/tom.1.jpg;1"], r"needs one column .*; its columns must be separated by commas"),
        ([""], r"answers.csv cannot be read as a table: .*[Ee]mpty"),
    ],
)
def test_a_mistake_in_a_csv_is_named_with_its_place(lines: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        own(csv(*lines))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"rex": [0.5, 0.5], "kit": [0.5]}, r"answers.json, row 2 \(kit\) has 1 answers, but row 1 \(rex\) has 2"),
        (
            {"rex": [0.5], "nobody": [0.5]},
            r"row 2 \(nobody\): no image is called so; one is tom.1 \(by class, all names are classes\)",
        ),
        ({"rex": [0.5], "cat": [0.5]}, r"row 2 \(cat\): no image is called so"),
        ({"rex": [0.5, 2]}, r"row 1 \(rex\), column 'aspect_01': got '2', expected a number from 0 to 1"),
        ({"rex": [0.5, "no"]}, r"column 'aspect_01': got 'no'"),
        ({"rex": [[0.5, 0.5]]}, r"column 'aspect_00': got '\[0.5, 0.5\]'"),
        ('{"rex": [0.5], "rex": [0.6]}', r"row 2 \(rex\) and row 1 \(rex\) are about the same and differ"),
        ([[0.5]], r"one object with a list of answers"),
        ({"rex": 0.5}, r"one object with a list of answers"),
        ({}, r"one object with a list of answers"),
        ('{"rex": [0.5]', r"answers.json cannot be read as JSON"),
        ({"rex": []}, r"has no answers"),
    ],
)
def test_a_mistake_in_a_json_is_named_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        own(as_json(value))
    assert "\n" not in str(error.value)


def test_a_stem_of_two_images_is_ambiguous_where_it_is_used() -> None:
    assert list(own(as_json({"rex": [1]}), manifest=TWINS).index) == ["3c"]
    with pytest.raises(UserError, match=r"row 1 \(kit\): several images are called so; .*column path"):
        own(as_json({"kit": [1]}), manifest=TWINS)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.txt", "Is it big?\n", r"row 1 \(rex\) has 2 answers, but q.txt has 1"),
        ("q.txt", "Is it big?\nIs it big?\n", "questions 1 and 2 are the same"),
        ("q.txt", "Is it big?\nlabel\n", "question 2 is called 'label'; give it another name"),
        ("q.txt", "\n", "extract_logits.table_questions: q.txt has no question"),
        ("q.json", '{"a": 1}', "q.json must hold a JSON list of questions"),
        ("q.json", "[", "extract_logits.table_questions: q.json cannot be read"),
    ],
)
def test_questions_that_do_not_fit_are_refused(name: str, text: str, said: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(UserError, match=said):
        own(as_json({"rex": [0.1, 0.2]}), name)


def test_files_that_are_not_there_are_named_with_their_param() -> None:
    with pytest.raises(UserError, match=r"extract_logits.table: no.csv is not a file"):
        own("no.csv")
    with pytest.raises(UserError, match=r"extract_logits.table_questions: no.txt cannot be read"):
        own(as_json({"rex": [1]}), "no.txt")
    with pytest.raises(UserError, match=r"table_questions is for a JSON, but answers.csv names its questions"):
        own(csv("path,Is it big?"), "no.txt")


def test_a_parquet_that_is_none_is_said_to_be_none() -> None:
    Path("answers.parquet").write_text("no table")
    with pytest.raises(UserError, match=r"answers.parquet cannot be read as a table: "):
        own("answers.parquet")


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    Path("answers.csv").write_bytes("\ufeffpath,Is it big?\ncat/kit.png,1\n".encode())
    table = read_answer_file(Path("answers.csv"), None, set())
    assert (table.by, table.names) == ("path", ["cat/kit.png"])
