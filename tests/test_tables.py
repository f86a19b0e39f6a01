from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.agreement import Agreement
from makd.comparison import Comparisons
from makd.metrics import Comparison
from makd.runs import read_runs
from makd.tables import (
    accuracy_markdown,
    accuracy_table,
    class_means,
    plus_minus,
    question_table,
    training_table,
    with_students,
    write_csv,
)
from tests.made_up_runs import MadeUpRuns

NONE = np.array([np.nan, np.nan])


@pytest.fixture
def comparisons() -> Comparisons:
    test = Comparison(np.array([50.0, 54.0]), np.array([55.0, 57.0]), 1.25, 6.75)
    return {"resnet18": {"test": test, "val": Comparison(NONE, NONE, np.nan, np.nan)}}


@pytest.fixture
def teacher() -> pd.DataFrame:
    nan = np.nan
    return pd.DataFrame(
        {"crest?": [0.9, 0.7, 0.1, nan], "saw?": [0.01, 0.01, 0.01, 0.02], "asked?": [nan, nan, nan, nan]}
    )


@pytest.fixture
def questions(teacher: pd.DataFrame) -> pd.DataFrame:
    truth = np.full((4, 3), np.nan)
    truth[:, 0] = [1, 0, 0, 1]
    return question_table(teacher, truth, np.array([0, 0, 1, 1]), ["jay", "owl"])


def test_accuracy_table_has_a_row_a_model_and_arm(comparisons: Comparisons) -> None:
    baseline, makd = accuracy_table(comparisons).to_dict("records")
    assert (baseline["model"], baseline["arm"], baseline["n_seeds"]) == ("resnet18", "baseline", 2)
    assert (baseline["test_accuracy_mean"], makd["test_accuracy_mean"]) == (52, 56)
    assert makd["test_accuracy_std"] == pytest.approx(np.sqrt(2))
    assert (makd["gap_mean"], makd["gap_std"], makd["gap_low"]) == pytest.approx((4, np.sqrt(2), 1.25))
    assert np.isnan([baseline["gap_mean"], baseline["gap_high"], makd["val_accuracy_mean"]]).all()


def test_markdown_says_the_same_in_aligned_columns(comparisons: Comparisons) -> None:
    lines = accuracy_markdown(accuracy_table(comparisons)).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2] == ["resnet18", "baseline", "52.0 ± 2.8", "", ""]
    assert cells[3] == ["resnet18", "makd", "56.0 ± 1.4", "", "+4.0 ± 1.4 [+1.2, +6.8]"]


def test_a_single_seed_has_no_deviation_and_a_missing_mean_no_text() -> None:
    assert plus_minus(3.04, np.nan, "+") == "+3.0"
    assert plus_minus(np.nan, np.nan) == ""


def test_training_table_has_all_epochs_of_all_runs_in_percent(tmp_path: Path) -> None:
    made_up = MadeUpRuns(tmp_path).write()
    table = training_table(read_runs(made_up.runs, made_up.images, made_up.models, made_up.seeds))
    assert len(table) == 2 * 2 * 2 * made_up.n_epochs
    assert list(table.columns[:4]) == ["model", "arm", "seed", "epoch"]
    one = table[(table["model"] == "resnet10t") & (table["arm"] == "makd") & (table["seed"] == 1)]
    history = pd.read_csv(made_up.folder("resnet10t", "makd", 1) / "history.csv")
    assert list(one["val_accuracy"]) == pytest.approx(100 * history["val_accuracy"])
    assert list(one["train_loss"]) == list(history["train_loss"])


def test_question_table_by_hand(questions: pd.DataFrame) -> None:
    crest = questions.iloc[0]
    assert (crest["rank"], crest["question"], crest["highest_class"], crest["lowest_class"]) == (
        1, "crest?", "jay", "owl",
    )  # fmt: skip
    assert crest["p_yes_mean"] == pytest.approx(1.7 / 3)
    assert crest["p_yes_std"] == pytest.approx(np.std([0.9, 0.7, 0.1]))
    assert crest["null_share"] == 0.25
    assert crest["truth_accuracy"] == pytest.approx(200 / 3)
    assert crest["truth_auc"] == 1


def test_a_constant_question_is_marked_without_a_share_and_an_unanswered_one_is_empty(questions: pd.DataFrame) -> None:
    assert list(questions["constant"]) == [False, True, False]
    assert list(questions["class_share"].isna()) == [False, True, True]
    unanswered = questions.iloc[2]
    assert unanswered["null_share"] == 1
    assert unanswered[["p_yes_mean", "class_share", "truth_auc", "highest_class"]].isna().all()


def test_students_come_as_means_over_seeds(questions: pd.DataFrame) -> None:
    seeds = [Agreement(np.array([auc, np.nan, np.nan]), 0.1, 0.2) for auc in (0.7, 0.9)]
    assert with_students(questions, {"resnet18": seeds})["auc_resnet18"].tolist() == pytest.approx(
        [0.8, np.nan, np.nan], nan_ok=True
    )


def test_class_means_have_a_row_for_a_class_without_answers(teacher: pd.DataFrame) -> None:
    means = class_means(teacher, np.array([0, 0, 2, 2]), ["jay", "kite", "owl"])
    assert means["crest?"].tolist() == pytest.approx([0.8, np.nan, 0.1], nan_ok=True)
    assert list(means.index) == ["jay", "kite", "owl"]


def test_csv_is_empty_where_there_is_no_number(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"a": [1 / 3, np.nan], "b": ["x, y", None]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b'a,b\n0.333333,"x, y"\n,\n'
