"""Answers that the user brings along, in every form, and what is said about those that do not fit."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.answer_tables import write_given
from makd.aspects import question_columns, read_aspects
from makd.errors import UserError
from makd.own_answers import coverage, own_questions, read_own_answers, write_own_answers

QUESTIONS = ["Does it hoot?", "Is it small?"]
P_YES = np.array([[0.9, 0.1], [0.25, 1.0], [0.0, np.nan]], np.float32)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images() -> pd.DataFrame:
    rows = [("a", "photos/owl/1.png", "train", 0, "owl"), ("b", "photos/owl/2.png", "test", 0, "owl")]
    rows += [("c", "photos/wren/3.png", "train", 1, "wren"), ("d", "photos/wren/4.png", "test", 1, "wren")]
    return pd.DataFrame(rows, columns=["image_id", "path", "split", "label", "class_name"])


def table(key: str, values: list[str], file: str = "answers.csv") -> Path:
    rows = pd.DataFrame(P_YES[: len(values)], columns=QUESTIONS)
    rows.insert(0, key, values)
    rows = rows.iloc[::-1]  # the order of the rows says nothing
    rows.to_parquet(file) if file.endswith("parquet") else rows.to_csv(file, index=False)
    return Path(file)


@pytest.mark.parametrize("file", ["answers.csv", "answers.parquet"])
@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("image_id", ["a", "c", "d"]),
        ("path", ["photos/owl/1.png", "photos/wren/3.png", "photos/wren/4.png"]),
    ],
)
def test_each_image_gets_its_own_answers_and_the_others_none(
    key: str, values: list[str], file: str, images: pd.DataFrame
) -> None:
    found = read_own_answers(table(key, values, file), None, images)
    assert list(found.columns) == QUESTIONS
    np.testing.assert_array_equal(found.to_numpy(), np.insert(P_YES, 1, np.nan, axis=0))
    assert coverage(found) == "own answers to 2 questions for 3 of 4 images, 37.5% of the answers missing"


def test_paths_may_start_from_the_folder_of_the_table(images: pd.DataFrame) -> None:
    Path("photos").mkdir()
    file = table("path", ["owl/1.png", "owl/2.png", "wren/3.png"], "photos/answers.csv")
    assert read_own_answers(file, None, images)["Does it hoot?"].tolist()[:3] == pytest.approx([0.9, 0.25, 0.0])


def test_answers_of_a_class_serve_its_images(images: pd.DataFrame) -> None:
    found = read_own_answers(table("class_name", ["owl", "wren"]), None, images)
    np.testing.assert_array_equal(found.to_numpy(), P_YES[[0, 0, 1, 1]])


def test_the_aspect_table_of_another_run_can_be_brought(images: pd.DataFrame) -> None:
    given = images.iloc[:3].join(pd.DataFrame(P_YES, columns=QUESTIONS))
    given.to_parquet("aspects.parquet")
    found = read_own_answers(Path("aspects.parquet"), None, images)
    assert list(found.columns) == QUESTIONS
    np.testing.assert_array_equal(found.to_numpy()[:3], P_YES)


def test_the_authors_json_goes_by_file_name(images: pd.DataFrame) -> None:
    Path("answers.json").write_text(json.dumps({"3": [0.5, 0.25], "1": [1, None]}))
    found = read_own_answers(Path("answers.json"), None, images)
    assert list(found.columns) == ["aspect_00", "aspect_01"]
    np.testing.assert_array_equal(found.to_numpy(), [[1, np.nan], [np.nan] * 2, [0.5, 0.25], [np.nan] * 2])
    Path("questions.txt").write_text("\n".join(QUESTIONS) + "\n\n")
    assert list(read_own_answers(Path("answers.json"), Path("questions.txt"), images).columns) == QUESTIONS
    Path("questions.json").write_text(json.dumps(QUESTIONS))
    assert list(read_own_answers(Path("answers.json"), Path("questions.json"), images).columns) == QUESTIONS


def csv(text: str) -> Callable[[], Path]:
    def write() -> Path:
        Path("answers.csv").write_text(text)
        return Path("answers.csv")

    return write


def js(text: str) -> Callable[[], Path]:
    def write() -> Path:
        Path("answers.json").write_text(text)
        return Path("answers.json")

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda: Path("nowhere.csv"), r"nowhere\.csv is not a file"),
        (csv("image,q?\na,1\n"), "none of the columns image_id, path, class_name"),
        (csv("image_id\na\n"), "no column besides image_id"),
        (csv("image_id,q?\nz,1\na,1\n"), "1 rows whose image_id is none of the dataset's, the first is 'z'"),
        (csv("class_name,q?\nowls,1\n"), "the first is 'owls'"),
        (csv("image_id,q?\na,1\na,0\n"), "two rows for image_id 'a'"),
        (csv("image_id,q?\na,1.5\n"), r"1\.5 in column 'q\?', row 'a'; expected P\(yes\) from 0 to 1"),
        (csv("image_id,q?\na,-0.1\n"), r"-0\.1 in column"),
        (csv("image_id,q?\na,yes\n"), "'yes' in column"),
        (csv("image_id,q?\na,inf\n"), "inf in column"),
        (js("[1]"), "must be an object of lists"),
        (js("{"), "is no JSON"),
        (js('{"1": [0.5], "2": [0.5, 0.5]}'), "must be equally long, got 1"),
        (js('{"9": [0.5]}'), "the first is '9'"),
    ],
)
def test_what_does_not_fit_is_named(write: Callable[[], Path], said: str, images: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=said):
        read_own_answers(write(), None, images)


def test_a_name_that_two_images_share_is_refused(images: pd.DataFrame) -> None:
    Path("answers.json").write_text(json.dumps({"1": [0.5]}))
    images.loc[2, "path"] = "photos/wren/1.png"
    with pytest.raises(UserError, match="share the name 1; give a table with a path column"):
        read_own_answers(Path("answers.json"), None, images)


@pytest.mark.parametrize("texts", ["one?\n", "one?\none?\n"])
def test_questions_that_are_not_as_many_are_refused(texts: str, images: pd.DataFrame) -> None:
    Path("answers.json").write_text(json.dumps({"1": [0.5, 0.5]}))
    Path("questions.txt").write_text(texts)
    with pytest.raises(UserError, match="has 2 answers an image"):
        read_own_answers(Path("answers.json"), Path("questions.txt"), images)


def test_the_finished_tables_hold_the_first_questions_and_no_logits(images: pd.DataFrame) -> None:
    out = {name: Path(f"{name}.parquet") for name in ("aspects", "answers", "zero_shot")}
    given = read_own_answers(table("image_id", ["a", "c", "d"]), None, images)
    write_own_answers(given, images, Path("own.parquet"))
    assert own_questions(Path("own.parquet")) == QUESTIONS
    write_given(images, QUESTIONS[:1], Path("own.parquet"), **out)
    aspects = read_aspects(out["aspects"])
    assert question_columns(aspects) == QUESTIONS[:1]
    np.testing.assert_array_equal(aspects[QUESTIONS[0]], given[QUESTIONS[0]])
    pd.testing.assert_frame_equal(aspects[list(images.columns)], images)
    answers = pd.read_parquet(out["answers"])
    assert list(answers["image_id"]) == ["a", "c", "d"]
    assert answers[["z_yes", "z_no"]].isna().all(axis=None)
    assert not answers["exact"].any()
    assert not len(pd.read_parquet(out["zero_shot"]))


def test_without_own_answers_there_are_no_questions_of_them(images: pd.DataFrame) -> None:
    write_own_answers(None, images, Path("own.parquet"))
    assert own_questions(Path("own.parquet")) == []
    assert own_questions(None) == []
