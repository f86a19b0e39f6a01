from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from makd.answer_tables import Tables, import_answers, write_given_tables
from makd.aspects import question_columns, read_aspects
from makd.errors import UserError
from makd.given_answers import given_questions, no_answers, read_given, write_given
from makd.store import AnswerStore

QUESTIONS = ["Is it big?", "Does it sting?"]
MANIFEST = pd.DataFrame(
    {
        "image_id": ["b", "a", "c", "a"],
        "path": ["b.png", "a.png", "c.png", "copy of a.png"],
        "split": ["train", "train", "test", "test"],
        "label": [0, 1, 1, 1],
        "class_name": ["ant", "bee", "bee", "bee"],
    }
)
BY_IMAGE = pd.DataFrame([[0.25, np.nan], [1, 0]], pd.Index(["b", "a"], name="image_id"), QUESTIONS, dtype=np.float32)
BY_CLASS = pd.DataFrame([[0.75, 0.5]], pd.Index(["bee"], name="class_name"), QUESTIONS, dtype=np.float32)


def tables(folder: Path, given: pd.DataFrame, asked: pd.DataFrame = MANIFEST) -> Tables:
    out = Tables(*(folder / f"{name}.parquet" for name in ("aspects", "answers", "zero_shot")))
    write_given_tables(MANIFEST, asked, given, out)
    return out


@pytest.mark.parametrize("given", [BY_IMAGE, BY_CLASS, no_answers()])
def test_given_answers_come_back_and_equal_ones_have_equal_bytes(tmp_path: Path, given: pd.DataFrame) -> None:
    write_given(given, tmp_path / "given.parquet")
    assert given_questions(tmp_path / "given.parquet") == list(given.columns)
    got = read_given(tmp_path / "given.parquet", list(given.columns))
    pd.testing.assert_frame_equal(got, given.sort_index(), check_index_type=False, check_column_type=False)
    write_given(given.iloc[::-1], tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "given.parquet").read_bytes()


def test_some_of_the_questions_are_read_and_others_are_refused(tmp_path: Path) -> None:
    write_given(BY_IMAGE, tmp_path / "given.parquet")
    assert list(read_given(tmp_path / "given.parquet", QUESTIONS[1:]).columns) == QUESTIONS[1:]
    with pytest.raises(UserError, match=r"given.parquet has no answers to 'Is it red\?'; run: dvc repro"):
        read_given(tmp_path / "given.parquet", ["Is it red?"])


def test_each_image_has_its_answers_and_others_are_null(tmp_path: Path) -> None:
    table = read_aspects(tables(tmp_path, BY_IMAGE).aspects)
    assert question_columns(table) == QUESTIONS
    np.testing.assert_array_equal(table[QUESTIONS], [[0.25, np.nan], [1, 0], [np.nan, np.nan], [1, 0]])


def test_each_image_of_a_class_has_the_answers_of_its_class(tmp_path: Path) -> None:
    table = read_aspects(tables(tmp_path, BY_CLASS).aspects)
    np.testing.assert_array_equal(table[QUESTIONS], [[np.nan] * 2, [0.75, 0.5], [0.75, 0.5], [0.75, 0.5]])


def test_images_that_are_not_asked_are_null(tmp_path: Path) -> None:
    table = read_aspects(tables(tmp_path, BY_CLASS, MANIFEST[2:3]).aspects)
    assert list(table[QUESTIONS[0]].notna()) == [False, False, True, False]


def test_the_long_table_says_that_the_logits_are_unknown(tmp_path: Path) -> None:
    table = pq.read_table(tables(tmp_path, BY_IMAGE).answers)
    assert table.column("p_yes").to_pylist() == [0.25, 1, 0]
    assert table.column("image_id").to_pylist() == ["b", "a", "a"]
    assert table.column("z_yes").null_count == table.column("z_no").null_count == 3
    assert table.column("exact").to_pylist() == [False] * 3


def test_no_store_takes_them_for_answers_of_its_model(tmp_path: Path) -> None:
    store, answers = AnswerStore(tmp_path / "store", {}), tables(tmp_path, BY_IMAGE).answers
    assert pq.read_schema(answers).metadata is None, "the key of a store would stand there"
    assert import_answers(answers, store) == 0
    assert not store.parts()


def test_blocks_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blocks").mkdir()
    whole = tables(tmp_path, BY_CLASS)
    monkeypatch.setattr("makd.answer_reader.BLOCK_IMAGES", 1)
    pieces = tables(tmp_path / "blocks", BY_CLASS)
    assert pq.read_table(pieces.aspects).equals(pq.read_table(whole.aspects))
    assert pd.read_parquet(pieces.answers).astype(object).equals(pd.read_parquet(whole.answers).astype(object))


def test_no_image_is_asked_about_classes(tmp_path: Path) -> None:
    assert pq.read_table(tables(tmp_path, BY_CLASS).zero_shot).num_rows == 0
