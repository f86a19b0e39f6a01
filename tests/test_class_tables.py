import numpy as np
import pandas as pd
import pytest

from makd.class_tables import class_table, confusion_rates, confusion_table
from makd.runs import Run, Runs

NAMES = ["jay", "owl", "kite"]
SEEDS = (0, 1)
LABELS = [0, 0, 1, 1]  # no test image of a kite
PREDICTED = {
    ("baseline", 0): [0, 1, 1, 2],
    ("baseline", 1): [1, 1, 1, 1],
    ("makd", 0): [0, 0, 1, 0],
    ("makd", 1): [0, 1, 1, 1],
}


def run(labels: list[int], predicted: list[int]) -> Run:
    p = pd.DataFrame(np.eye(len(NAMES), dtype=np.float32)[predicted], columns=[f"class: {name}" for name in NAMES])
    return Run(pd.DataFrame(), {"test": p.assign(label=labels)})


@pytest.fixture
def runs() -> Runs:
    return {("m", arm, seed): run(LABELS, predicted) for (arm, seed), predicted in PREDICTED.items()}


@pytest.mark.filterwarnings("error")
def test_confusion_rates_are_percent_of_the_true_class_over_all_seeds(runs: Runs) -> None:
    nan = np.nan
    assert confusion_rates(runs, "m", "baseline", SEEDS, 3) == pytest.approx(
        np.array([[25, 75, 0], [0, 75, 25], [nan, nan, nan]]), nan_ok=True
    )
    assert confusion_rates(runs, "m", "makd", (0,), 3)[:2] == pytest.approx(np.array([[100, 0, 0], [50, 50, 0]]))


def test_class_table_by_hand(runs: Runs) -> None:
    table = class_table(runs, ("m",), SEEDS, NAMES)
    assert list(table.columns) == ["model", "class", "test_images", "baseline", "makd", "change"]
    assert table["class"].tolist() == NAMES
    assert table["test_images"].tolist() == [2, 2, 0]
    assert table["baseline"].tolist() == pytest.approx([25, 75, np.nan], nan_ok=True)
    assert table["makd"].tolist() == pytest.approx([75, 75, np.nan], nan_ok=True)
    assert table["change"].tolist() == pytest.approx([50, 0, np.nan], nan_ok=True)


def test_every_model_has_a_row_a_class(runs: Runs) -> None:
    both = runs | {("n", arm, seed): run for (_, arm, seed), run in runs.items()}
    assert class_table(both, ("m", "n"), SEEDS, NAMES)["model"].tolist() == ["m"] * 3 + ["n"] * 3


def test_confusion_table_has_the_pairs_that_either_arm_confuses_the_best_mended_first(runs: Runs) -> None:
    """By hand. A jay taken for an owl: 75 -> 25; an owl for a kite: 25 -> 0; an owl for a jay: 0 -> 25."""
    rows = confusion_table(runs, ("m",), SEEDS, NAMES)
    assert rows.to_dict("split")["data"] == [
        ["m", "jay", "owl", 75, 25, -50],
        ["m", "owl", "kite", 25, 0, -25],
        ["m", "owl", "jay", 0, 25, 25],
    ]
    assert list(rows.columns) == ["model", "true_class", "predicted_class", "baseline", "makd", "change"]


def test_equal_changes_are_in_the_order_of_the_names() -> None:
    """Of seven images each, of which rounding makes other sevenths."""
    labels = [0] * 7 + [1] * 7 + [2] * 7
    arms = {"baseline": [1] * 3 + [0] * 4 + [0] * 3 + [1] * 4 + [1] * 6 + [2], "makd": [1] * 2 + [0] * 5}
    arms["makd"] += [0] * 2 + [1] * 5 + [1] * 5 + [2] * 2
    runs: Runs = {("m", arm, 0): run(labels, predicted) for arm, predicted in arms.items()}
    rows = confusion_table(runs, ("m",), (0,), NAMES)
    assert rows["true_class"].tolist() == ["jay", "kite", "owl"]
    assert rows["change"].nunique() == 1


def test_students_that_are_never_wrong_have_no_confusions() -> None:
    runs: Runs = {("m", arm, 0): run(LABELS, LABELS) for arm in ("baseline", "makd")}
    rows = confusion_table(runs, ("m",), (0,), NAMES)
    assert len(rows) == 0
    assert list(rows.columns) == ["model", "true_class", "predicted_class", "baseline", "makd", "change"]
