from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import makd.answer_tables
from makd.answer_reader import AnswerReader
from makd.answer_tables import import_answers, write_answers, write_p_yes
from makd.answers import Answers
from makd.aspects import KEY_COLUMNS, question_columns, read_aspects
from makd.errors import UserError
from makd.questions import Question
from makd.store import AnswerStore

QUESTIONS = [Question(text="Is it big?"), Question(text="Does it sting?")]
TEXTS = [question.text for question in QUESTIONS]
IDS = [question.id for question in QUESTIONS]
IMAGES = pd.Index(["a", "b"])
ANSWERS = Answers(np.array([[0, 2], [np.nan, -2]], np.float32), np.array([[0, -2], [np.nan, 2]], np.float32))
MANIFEST = pd.DataFrame(
    {
        "image_id": ["b", "a", "c", "a"],
        "path": ["b.png", "a.png", "c.png", "copy of a.png"],
        "split": ["train", "train", "test", "test"],
        "label": [0, 1, 1, 1],
        "class_name": ["ant", "bee", "bee", "bee"],
    }
)


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "store", {"weights": "abc"})


@pytest.fixture
def other(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "other", {"weights": "abc"})


def filled(store: AnswerStore) -> AnswerReader:
    store.add(list(IMAGES), IDS, ANSWERS)
    return store.reader(list(IMAGES), IDS)


def test_aspects_have_a_row_an_image_and_a_column_a_question(tmp_path: Path, store: AnswerStore) -> None:
    write_p_yes(MANIFEST, TEXTS, filled(store), tmp_path / "aspects.parquet")
    table = read_aspects(tmp_path / "aspects.parquet")
    assert table[list(KEY_COLUMNS)].equals(MANIFEST)
    assert question_columns(table) == [question.text for question in QUESTIONS]
    assert set(table[question_columns(table)].dtypes.astype(str)) == {"float32"}


def test_an_image_that_was_not_asked_is_null_and_a_copy_has_the_same_answers(
    tmp_path: Path, store: AnswerStore
) -> None:
    write_p_yes(MANIFEST, TEXTS, filled(store), tmp_path / "aspects.parquet")
    p = 1 / (1 + np.exp(-4))
    expected = [[np.nan, 1 - p], [0.5, p], [np.nan, np.nan], [0.5, p]]
    table = read_aspects(tmp_path / "aspects.parquet")
    np.testing.assert_allclose(table[question_columns(table)], expected, rtol=1e-5)


def test_answers_are_long_and_leave_out_what_is_missing(tmp_path: Path, store: AnswerStore) -> None:
    write_answers("key", [filled(store)], tmp_path / "answers.parquet")
    table = pd.read_parquet(tmp_path / "answers.parquet")
    assert list(table.columns) == ["image_id", "question_id", "z_yes", "z_no", "p_yes", "exact"]
    assert list(zip(table["image_id"], table["question_id"], strict=True)) == [
        ("a", IDS[0]),
        ("a", IDS[1]),
        ("b", IDS[1]),
    ]
    assert table["exact"].all()


def test_answers_of_a_lost_store_come_back(tmp_path: Path, store: AnswerStore, other: AnswerStore) -> None:
    path = tmp_path / "answers.parquet"
    write_answers(store.key, [filled(other)], path)
    assert import_answers(path, store) == 3
    found = store.read(list(IMAGES), IDS)
    np.testing.assert_array_equal(found.z_yes, ANSWERS.z_yes)
    np.testing.assert_array_equal(found.z_no, ANSWERS.z_no)


def test_only_what_the_store_lacks_is_imported(tmp_path: Path, store: AnswerStore, other: AnswerStore) -> None:
    path = tmp_path / "answers.parquet"
    write_answers(store.key, [filled(other)], path)
    store.add(["a"], [IDS[0]], Answers(np.full((1, 1), 9, np.float32), np.zeros((1, 1), np.float32)))
    assert import_answers(path, store) == 2
    assert store.read(["a"], [IDS[0]]).z_yes[0, 0] == 9
    assert import_answers(path, store) == 0


@pytest.mark.parametrize("block", [1, 3])
def test_blocks_change_no_answer(
    block: int, tmp_path: Path, store: AnswerStore, other: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, ids = np.random.default_rng(0), [f"{k:02d}" for k in range(20)]
    z = rng.normal(size=(20, 2)).astype(np.float32)
    z[rng.random(z.shape) < 0.3] = np.nan
    store.add(ids, IDS, Answers(z, -z))
    manifest = pd.DataFrame({name: rng.permutation(np.repeat(ids, 2)) for name in KEY_COLUMNS}).assign(label=0)
    reader = store.reader(ids[:15], IDS)
    for name, size in (("whole", 2**16), ("blocks", block)):
        monkeypatch.setattr("makd.answer_reader.BLOCK_IMAGES", size)
        monkeypatch.setattr(makd.answer_tables, "IMPORTED_ROWS", size)
        write_p_yes(manifest, TEXTS, reader, tmp_path / f"{name}-aspects")
        write_answers(store.key, [reader], tmp_path / f"{name}-answers")
    for table in ("aspects", "answers"):
        whole, blocks = (pd.read_parquet(tmp_path / f"{name}-{table}") for name in ("whole", "blocks"))
        pd.testing.assert_frame_equal(whole.astype(blocks.dtypes), blocks)
    assert import_answers(tmp_path / "blocks-answers", other) == int((~np.isnan(z[:15])).sum())
    np.testing.assert_array_equal(other.read(ids[:15], IDS).z_no, -z[:15])
    assert import_answers(tmp_path / "blocks-answers", other) == 0


def test_no_answer_at_all_makes_tables_too(tmp_path: Path, store: AnswerStore) -> None:
    reader = store.reader(list(IMAGES), IDS)
    write_p_yes(MANIFEST, TEXTS, reader, tmp_path / "aspects")
    write_answers(store.key, [reader], tmp_path / "answers")
    assert read_aspects(tmp_path / "aspects")[[question.text for question in QUESTIONS]].isna().all(axis=None)
    assert len(pd.read_parquet(tmp_path / "answers")) == 0
    assert import_answers(tmp_path / "answers", store) == 0


def test_answers_of_another_scorer_are_not_imported(tmp_path: Path, store: AnswerStore, other: AnswerStore) -> None:
    write_answers("another key", [filled(other)], tmp_path / "answers.parquet")
    assert import_answers(tmp_path / "answers.parquet", store) == 0
    assert import_answers(tmp_path / "absent.parquet", store) == 0
    assert not store.parts()


@pytest.mark.parametrize("how", ["junk", "cut", "overwritten"])
def test_damaged_answers_are_refused_before_anything_is_asked_anew(
    how: str, tmp_path: Path, store: AnswerStore, other: AnswerStore
) -> None:
    path = tmp_path / "answers.parquet"
    write_answers(store.key, [filled(other)], path)
    whole = path.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    cut = {"junk": b"junk", "cut": whole[:-9], "overwritten": bytes(len(whole) - footer) + whole[-footer:]}
    path.write_bytes(cut[how])
    with pytest.raises(UserError, match=r"answers\.parquet cannot be read: .*; bring it back .* or delete it") as error:
        import_answers(path, store)
    assert "\n" not in str(error.value)
    assert not store.parts()


def test_equal_answers_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        reader = filled(AnswerStore(tmp_path / name, {}))
        write_p_yes(MANIFEST, TEXTS, reader, tmp_path / f"{name}-aspects")
        write_answers("key", [reader], tmp_path / f"{name}-answers")
    assert (tmp_path / "a-aspects").read_bytes() == (tmp_path / "b-aspects").read_bytes()
    assert (tmp_path / "a-answers").read_bytes() == (tmp_path / "b-answers").read_bytes()
