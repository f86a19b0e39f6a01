from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from makd.agreement import Agreement
from makd.comparison import Comparisons
from makd.metrics import Comparison
from makd.question_quality import question_quality
from makd.runs import read_runs
from makd.tables import (
    accuracy_markdown,
    accuracy_table,
    agreement_table,
    class_means,
    p_text,
    plus_minus,
    question_table,
    run_table,
    training_table,
)
from tests.made_up_runs import MadeUpRuns

NONE = np.array([np.nan, np.nan])


@pytest.fixture
def comparisons() -> Comparisons:
    test = Comparison(np.array([50.0, 54.0]), np.array([55.0, 57.0]), 1.25, 6.75, 0.0123)
    return {"resnet18": {"test": test, "val": Comparison(NONE, NONE, np.nan, np.nan, np.nan)}}


def accuracies(comparisons: Comparisons, dataset: str = "birds", zero_shot: float = np.nan) -> pd.DataFrame:
    runs = [
        {"model": model, "arm": arm, "seed": seed, "test_macro_f1": f1 + seed}
        for model, arms in (("resnet18", (40, 60)), ("another", (0, 0)))
        for arm, f1 in zip(("baseline", "makd"), arms, strict=True)
        for seed in (0, 1)
    ]
    classes = pd.DataFrame(
        {
            "model": ["resnet18"] * 4 + ["another"],
            "class": ["jay", "owl", "kite", "dodo", "jay"],
            "test_images": [5, 5, 5, 0, 5],
            "baseline": [30.0, 20.0, 90.0, np.nan, 0.0],
            "makd": [10.0, 80.0, 90.0, np.nan, 0.0],
        }
    )
    return accuracy_table(comparisons, pd.DataFrame(runs), classes, zero_shot=zero_shot, dataset=dataset)


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


def test_accuracy_table_has_a_row_a_student(comparisons: Comparisons) -> None:
    (row,) = accuracies(comparisons).to_dict("records")
    assert (row["model"], row["n_seeds"]) == ("resnet18", 2)
    assert (row["baseline"], row["makd"]) == (52, 56)
    assert row["makd_std"] == pytest.approx(np.sqrt(2))
    assert (row["gap"], row["gap_std"], row["gap_low"], row["gap_high"]) == pytest.approx((4, np.sqrt(2), 1.25, 6.75))
    assert row["p_value"] == 0.0123
    empty = ["zero_shot", "baseline_val", "makd_val", "makd_val_std", "paper_zero_shot", "paper_baseline", "paper_makd"]
    assert np.isnan([row[name] for name in empty]).all()


def test_accuracy_table_names_the_worst_class_that_has_test_images_and_means_the_f1_over_the_seeds(
    comparisons: Comparisons,
) -> None:
    (row,) = accuracies(comparisons).to_dict("records")
    assert (row["baseline_worst_class"], row["baseline_worst"]) == ("owl", 20)
    assert (row["makd_worst_class"], row["makd_worst"]) == ("jay", 10)
    assert (row["baseline_macro_f1"], row["makd_macro_f1"]) == (40.5, 60.5)


def test_accuracy_table_has_the_papers_numbers_for_its_datasets_and_the_multimodal_llms_own(
    comparisons: Comparisons,
) -> None:
    (row,) = accuracies(comparisons, "cub200", 12.5).to_dict("records")
    assert row["zero_shot"] == 12.5
    assert (row["paper_zero_shot"], row["paper_baseline"], row["paper_makd"]) == (10.27, 53.83, 60.07)


def cells_of(markdown: str) -> list[list[str]]:
    lines = markdown.splitlines()
    assert len({len(line) for line in lines}) == 1
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_markdown_says_the_same_in_aligned_columns_and_has_none_for_what_is_unknown(comparisons: Comparisons) -> None:
    cells = cells_of(accuracy_markdown(accuracies(comparisons)))
    assert cells[0] == ["model", "baseline, %", "makd, %", "gap [95 % interval]", "p"]
    assert cells[2] == ["resnet18", "52.0 ± 2.8", "56.0 ± 1.4", "+4.0 ± 1.4 [+1.2, +6.8]", "0.012"]


def test_markdown_has_the_paper_and_the_multimodal_llm_where_there_is_something_to_say(
    comparisons: Comparisons,
) -> None:
    both = comparisons | {"another": comparisons["resnet18"]}
    cells = cells_of(accuracy_markdown(accuracies(both, "cub200", 12.5)))
    assert cells[0] == [
        "model", "MLLM zero-shot, %", "baseline, %", "makd, %", "gap [95 % interval]", "p", "paper, %",
    ]  # fmt: skip
    assert [row[1] for row in cells[2:]] == ["12.5", "12.5"]
    assert [row[-1] for row in cells[2:]] == ["53.83 -> 60.07", ""]


@pytest.mark.parametrize(
    ("p_value", "text"),
    [
        (0.0461, "0.046"),
        (0.0498, "0.0498"),
        (0.0102, "0.0102"),
        (0.02, "0.02"),
        (1.0, "1"),
        (0.0001, "0.0001"),
        (0.00009, "< 0.0001"),
        (np.nan, ""),
    ],
)
def test_p_has_two_digits(p_value: float, text: str) -> None:
    assert p_text(p_value) == text


@pytest.mark.parametrize("n_val", [4, 0])
def test_run_table_says_the_same_as_the_predictions(tmp_path: Path, n_val: int) -> None:
    made_up = MadeUpRuns(tmp_path, n_val=n_val).write()
    table = run_table(read_runs(made_up.runs, made_up.images, made_up.models, made_up.seeds))
    assert list(table.columns) == ["model", "arm", "seed", "test_accuracy", "val_accuracy", "test_macro_f1"]
    assert len(table) == 8
    for row in table.to_dict("records"):
        found = pd.read_parquet(made_up.folder(row["model"], row["arm"], row["seed"]) / "predictions.parquet")
        right = 100 * (found["predicted"] == found["class_name"]).groupby(found["split"]).mean()
        assert row["test_accuracy"] == pytest.approx(right["test"])
        assert row["val_accuracy"] == pytest.approx(right.get("val", np.nan), nan_ok=True)
        test = found[found["split"] == "test"]
        f1 = f1_score(test["class_name"], test["predicted"], average="macro")
        assert row["test_macro_f1"] == pytest.approx(100 * f1)


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
    for column in ("class_share", "highest_class", "lowest_class"):
        assert list(questions[column].isna()) == [False, True, True]
    unanswered = questions.iloc[2]
    assert unanswered["null_share"] == 1
    assert unanswered[["p_yes_mean", "class_share", "truth_auc", "highest_class"]].isna().all()


def test_question_table_has_what_each_question_is_worth_beside_it(
    questions: pd.DataFrame, teacher: pd.DataFrame
) -> None:
    expected = question_quality(teacher.to_numpy(dtype=np.float64), np.array([0, 0, 1, 1]))
    pd.testing.assert_frame_equal(questions[list(expected)], expected)
    assert questions.columns.is_unique
    assert questions["flags"].str.contains("constant").tolist() == [False, True, False]


def test_agreement_table_has_means_over_the_seeds() -> None:
    def seed(auc: float) -> Agreement:
        same = np.array([auc, np.nan])
        return Agreement(np.array([5, 0]), same, same / 2, same / 4, same / 8, same / 16)

    table = agreement_table({"m": [seed(0.7), seed(0.9)], "n": [seed(0.5)]}, ["a?", "b?"])
    assert table["model"].tolist() == ["m", "m", "n", "n"]
    assert table["rank"].tolist() == [1, 2, 1, 2]
    assert table["question"].tolist() == ["a?", "b?"] * 2
    assert table["answers"].tolist() == [5, 0, 5, 0]
    for number, name in enumerate(("auc", "spearman", "brier", "kl_nats", "abs_diff")):
        expected = np.array([0.8, np.nan, 0.5, np.nan]) / 2**number
        assert table[name].tolist() == pytest.approx(expected.tolist(), nan_ok=True)


def test_class_means_have_a_row_for_a_class_without_answers(teacher: pd.DataFrame) -> None:
    means = class_means(teacher, np.array([0, 0, 2, 2]), ["jay", "kite", "owl"])
    assert means["crest?"].tolist() == pytest.approx([0.8, np.nan, 0.1], nan_ok=True)
    assert list(means.index) == ["jay", "kite", "owl"]
