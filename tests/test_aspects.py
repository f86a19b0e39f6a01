from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import makd.aspects
from makd.aspects import asked_questions, p_yes_matrix, question_columns, read_aspects
from makd.errors import UserError

TABLE = pd.DataFrame(
    {
        "image_id": ["a", "b"],
        "path": ["a.png", "b.png"],
        "split": ["train", "train"],
        "label": [0, 1],
        "class_name": ["ant", "bee"],
        "Is it big?": np.array([0.25, np.nan], np.float32),
        "Does it sting?": np.array([0.5, 1], np.float32),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    TABLE.to_parquet(tmp_path / "aspects.parquet")
    return tmp_path / "aspects.parquet"


def test_questions_are_the_columns_behind_the_keys(path: Path) -> None:
    assert asked_questions(path) == question_columns(read_aspects(path)) == ["Is it big?", "Does it sting?"]


@pytest.mark.parametrize("batch_rows", [1, 2**15])
def test_the_matrix_is_in_the_order_that_was_asked_for_and_keeps_nulls(
    path: Path, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(makd.aspects, "BATCH_ROWS", batch_rows)
    matrix = p_yes_matrix(path, pd.Series(["b", "a", "b"]))
    np.testing.assert_array_equal(matrix, np.array([[np.nan, 1], [0.25, 0.5], [np.nan, 1]], np.float32))
    np.testing.assert_array_equal(p_yes_matrix(path, pd.Series(["b"])), matrix[:1])


@pytest.mark.parametrize("batch_rows", [1, 2**15])
@pytest.mark.parametrize("value", [1.7, -0.01, np.inf])
def test_a_value_that_is_no_probability_is_refused_with_file_and_column(
    path: Path, batch_rows: int, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(makd.aspects, "BATCH_ROWS", batch_rows)
    TABLE.assign(**{"Does it sting?": np.array([0.5, value], np.float32)}).to_parquet(path)
    message = (
        rf"aspects\.parquet: {value:g} in column 'Does it sting\?', expected 0 to 1, .*run: dvc repro extract_logits"
    )
    with pytest.raises(UserError, match=message):
        p_yes_matrix(path, pd.Series(["a"]))
    with pytest.raises(UserError, match=message):
        read_aspects(path)


def damaged(whole: bytes, how: str) -> bytes:
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    pages = len(whole) - footer
    return {"junk": b"junk" * 9, "empty": b"", "cut": whole[:-50], "overwritten": bytes(pages) + whole[pages:]}[how]


@pytest.mark.parametrize("how", ["junk", "empty", "cut", "overwritten"])
def test_a_damaged_table_is_refused_in_one_line(path: Path, how: str) -> None:
    path.write_bytes(damaged(path.read_bytes(), how))
    for read in (read_aspects, lambda path: p_yes_matrix(path, pd.Series(["a"]))):
        with pytest.raises(
            UserError, match=r"aspects\.parquet cannot be read: .*; run: dvc repro extract_logits"
        ) as error:
            read(path)
        assert "\n" not in str(error.value)


def test_a_table_without_image_ids_is_refused(path: Path) -> None:
    TABLE.drop(columns="image_id").to_parquet(path)
    with pytest.raises(UserError, match="has no column 'image_id'; run: dvc repro extract_logits"):
        p_yes_matrix(path, pd.Series(["a"]))


def test_an_image_without_a_row_is_named(path: Path) -> None:
    with pytest.raises(UserError, match="no row for 1 of 2 images, the first is c"):
        p_yes_matrix(path, pd.Series(["a", "c"]))
