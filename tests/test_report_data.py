from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.errors import UserError
from makd.report_data import TABLES, ReportData
from tests.made_up_report import evaluated, read_data
from tests.made_up_runs import MadeUpRuns


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> MadeUpRuns:
    made_up = MadeUpRuns(tmp_path_factory.mktemp("data")).write()
    made_up.p_yes[3] = made_up.p_yes[4, 0] = np.nan
    made_up.save_answers()
    return made_up


@pytest.fixture(scope="module")
def tables(made_up: MadeUpRuns) -> Path:
    return evaluated(made_up)


@pytest.fixture(scope="module")
def data(made_up: MadeUpRuns, tables: Path) -> ReportData:
    return read_data(made_up, tables)


def test_all_tables_are_there_and_the_classes_and_questions_by_name(made_up: MadeUpRuns, data: ReportData) -> None:
    assert set(data.tables) == set(TABLES)
    assert data.class_names == made_up.classes
    assert data.questions == made_up.questions
    assert list(data.tables["questions"]["question"]) == made_up.questions
    assert data.metrics["images"]["test"] == len(data.test_labels) == 36


def test_what_is_said_of_test_images_is_in_their_order(made_up: MadeUpRuns, data: ReportData) -> None:
    test = made_up.images["split"] == "test"
    assert list(data.test_images["path"]) == list(made_up.images.loc[test, "path"])
    assert data.test_labels.tolist() == list(made_up.images.loc[test, "label"])
    assert np.array_equal(data.teacher_on_test, made_up.p_yes[test], equal_nan=True)


def test_students_speak_by_their_first_seed(made_up: MadeUpRuns, tables: Path) -> None:
    data = read_data(made_up, tables, seeds=made_up.seeds[::-1])
    model = made_up.models[1]
    for arm in ("baseline", "makd"):
        assert np.array_equal(data.p_class(model, arm), data.runs[model, arm, 1].p_class("test"))
    assert np.array_equal(data.p_yes(model), data.runs[model, "makd", 1].p_yes("test"))
    assert not np.array_equal(data.p_yes(model), data.runs[model, "makd", 0].p_yes("test"))


def test_class_means_are_over_all_images_and_those_that_were_asked_are_counted(
    made_up: MadeUpRuns, data: ReportData
) -> None:
    expected = pd.DataFrame(made_up.p_yes).groupby(made_up.images["label"]).mean().to_numpy()
    assert data.class_means.to_numpy() == pytest.approx(expected)
    assert list(data.class_means.index) == made_up.classes
    assert data.n_asked == len(made_up.images) - 1


def test_a_missing_table_is_named_with_the_command(made_up: MadeUpRuns, tables: Path, tmp_path: Path) -> None:
    for path in tables.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "classes.csv").unlink()
    with pytest.raises(UserError, match=r"classes\.csv is missing; run: dvc repro --force evaluate"):
        read_data(made_up, tmp_path)
