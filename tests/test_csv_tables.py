from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.csv_tables import read_csv, write_csv
from makd.errors import UserError


def round_trip(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    write_csv(table, path)
    return read_csv(path, "run it")


def test_csv_is_empty_where_there_is_no_number(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"a": [1 / 3, np.nan], "b": ["x, y", None]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b'a,b\n0.333333,"x, y"\n,\n'


@pytest.mark.parametrize(
    "column", ["class", "true_class", "predicted_class", "baseline_worst_class", "makd_worst_class"]
)
@pytest.mark.parametrize("name", ["NA", "007", "a,b", 'a "b"', "1e3", "None", "nan", "true", "ä\u2028b"])
def test_a_class_keeps_its_name_whatever_it_looks_like(tmp_path: Path, column: str, name: str) -> None:
    found = round_trip(pd.DataFrame({column: [name, name], "makd": [50.0, np.nan]}), tmp_path / "a.csv")
    assert found[column].tolist() == [name, name]


@pytest.mark.parametrize("column", ["model", "arm", "question", "highest_class", "lowest_class", "flags", "device"])
def test_a_text_stays_one_and_none_is_empty(tmp_path: Path, column: str) -> None:
    found = round_trip(pd.DataFrame({column: ["12", None]}), tmp_path / "a.csv")
    assert found[column].iloc[0] == "12"
    assert found[column].isna().tolist() == [False, True]


def test_numbers_counts_and_truths_come_back_as_such(tmp_path: Path) -> None:
    table = pd.DataFrame({"n": [1, 2], "x": [1 / 3, np.nan], "constant": [True, False]})
    table["closest_question"] = pd.array([3, None], dtype="Int64")
    found = round_trip(table, tmp_path / "a.csv")
    assert found["n"].dtype == np.int64
    assert found["constant"].tolist() == [True, False]
    assert found["constant"].dtype == bool
    assert found["x"].tolist() == pytest.approx([0.333333, np.nan], nan_ok=True)
    assert found["closest_question"].tolist() == pytest.approx([3, np.nan], nan_ok=True)


@pytest.mark.parametrize("values", [[100.0, 50.0], [-3.0, 0.0], [1e7, 1e-9], [1.0, np.nan], [123456789.0, 2.0]])
def test_numbers_come_back_as_floats_though_all_are_whole(tmp_path: Path, values: list[float]) -> None:
    found = round_trip(pd.DataFrame({"makd": values, "seed": [1, 2]}), tmp_path / "a.csv")
    assert found["makd"].dtype == np.float64
    assert found["makd"].tolist() == pytest.approx(values, rel=1e-5, nan_ok=True)
    assert found["seed"].dtype == np.int64


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    found = round_trip(pd.DataFrame({"model": [], "change": []}), tmp_path / "a.csv")
    assert list(found.columns) == ["model", "change"]
    assert len(found) == 0


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.csv is missing; run it$"):
        read_csv(tmp_path / "a.csv", "run it")
