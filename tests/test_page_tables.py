import numpy as np
import pandas as pd
import pytest

from makd.page import Column
from makd.page_tables import CONFUSIONS_A_SIDE, TABLES, most_moved, page_table, page_tables
from makd.published_results import published_result
from tests.made_up_report import report_data, write_costs, write_truth
from tests.made_up_runs import MadeUpRuns

OPTIONAL = {
    "accuracy": {"zero_shot", "paper_zero_shot", "paper_baseline", "paper_makd"},
    "questions": {"flags", "truth_accuracy", "truth_auc"},
}
"""Columns that only some data sets fill."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The real ones, of made-up runs, with the truth known of some questions."""
    made_up = MadeUpRuns(tmp_path_factory.mktemp("tables")).write()
    write_truth(made_up)
    data = report_data(made_up)
    write_costs(made_up.root / "costs.csv", made_up.models)
    return data.tables | {"costs": pd.read_csv(made_up.root / "costs.csv")}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_of_the_page_is_one_of_the_tables(name: str, tables: dict[str, pd.DataFrame]) -> None:
    keys = [column.key for column in TABLES[name][2]]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(tables[name].columns)
    shown = {column.key for column in page_table(name, tables[name], *TABLES[name]).columns}
    assert set(keys) - shown <= OPTIONAL.get(name, set())


def test_optional_columns_are_the_tables_names(tables: dict[str, pd.DataFrame]) -> None:
    for name, optional in OPTIONAL.items():
        assert optional <= {column.key for column in TABLES[name][2]}
    assert {f"paper_{name}" for name in published_result("cub200", "resnet18")._fields} <= OPTIONAL["accuracy"]


@pytest.mark.filterwarnings("error")
def test_rows_are_those_of_the_table_with_none_for_an_empty_cell(tables: dict[str, pd.DataFrame]) -> None:
    for table in page_tables(tables):
        source = tables[table.id]
        assert len(table.rows) == len(source)
        for position, column in enumerate(table.columns):
            cells = [row[position] for row in table.rows]
            assert [cell is None for cell in cells] == source[column.key].isna().tolist()
            assert all(cell is None or cell == value for cell, value in zip(cells, source[column.key], strict=True))
            assert all(type(cell) in (str, int, float, bool, type(None)) for cell in cells)


def test_a_column_that_is_empty_throughout_is_left_out(tables: dict[str, pd.DataFrame]) -> None:
    accuracy = next(table for table in page_tables(tables) if table.id == "accuracy")
    keys = [column.key for column in accuracy.columns]
    assert "zero_shot" not in keys
    assert "paper_makd" not in keys
    some = tables["accuracy"].assign(zero_shot=[np.nan, 12.5])
    table = page_table("accuracy", some, *TABLES["accuracy"])
    assert [row[[column.key for column in table.columns].index("zero_shot")] for row in table.rows] == [None, 12.5]
    for table in page_tables(tables):
        assert all(any(cell is not None for cell in cells) for cells in zip(*table.rows, strict=True))


def test_tables_that_there_are_not_are_left_out_and_the_others_in_order(tables: dict[str, pd.DataFrame]) -> None:
    some = {name: tables[name] for name in ("costs", "runs", "accuracy")}
    assert [table.id for table in page_tables(some)] == ["accuracy", "costs"]


def test_a_table_without_rows_is_empty() -> None:
    table = page_table("x", pd.DataFrame({"model": [], "change": []}), "title", "caption", [Column("model", "m")])
    assert (table.columns, table.rows) == ([], [])


def test_of_many_confusions_those_that_moved_most_either_way_are_shown() -> None:
    n = 3 * CONFUSIONS_A_SIDE
    pairs = pd.DataFrame({"model": "m", "true_class": "jay", "predicted_class": "owl", "change": np.arange(n) - 40.0})
    shown = most_moved(pairs)["change"]
    assert (len(shown), shown.min(), shown.max()) == (2 * CONFUSIONS_A_SIDE, -40, n - 41)
