from typing import Any

import numpy as np
import pandas as pd
import pytest

from makd.agreement import Agreement
from makd.metrics import Comparison, between_class_share
from makd.report_metrics import report_metrics, rounded, teacher_metrics
from makd.tables import question_table

MANIFEST = pd.DataFrame({"split": ["train", "train", "val", "test"]})
TEACHER = pd.DataFrame({"crest?": [0.9, 0.1, 0.2, np.nan], "saw?": [0.01, 0.01, 0.01, 0.01]})


def metrics(truth: np.ndarray) -> dict[str, Any]:
    one = Comparison(np.array([50.0]), np.array([55.00001]), 1.0, 9.0)
    none = Comparison(np.array([np.nan]), np.array([np.nan]), np.nan, np.nan)
    agreements = [Agreement(np.array([0.75, np.nan]), 0.125, np.nan)]
    questions = question_table(TEACHER, truth, np.array([0, 1, 1, 1]), ["jay", "owl"])
    return report_metrics(MANIFEST, {"resnet18": {"test": one, "val": none}}, {"resnet18": agreements}, questions)


def test_a_number_that_does_not_exist_is_null() -> None:
    model = metrics(np.full((4, 2), np.nan))["models"]["resnet18"]
    expected = {"baseline": 50.0, "baseline_std": None, "makd": 55.0, "makd_std": None}
    assert model["test"] == expected | {"gap": 5.0, "gap_std": None, "gap_low": 1.0, "gap_high": 9.0}
    assert set(model["val"].values()) == {None}
    assert model["aspects"] == {"auc": 0.75, "abs_diff": 0.125, "kl_nats": None}


def test_teacher_in_numbers() -> None:
    found = metrics(np.full((4, 2), np.nan))
    assert found["images"] == {"train": 2, "val": 1, "test": 1}
    teacher = found["teacher"]
    assert (teacher["images"], teacher["questions"], teacher["constant"]) == (4, 2, 1)
    assert teacher["null_share"] == 0.125
    assert teacher["p_yes"] == pytest.approx((0.4 + 0.01) / 2)


def test_constant_questions_do_not_raise_the_share_that_the_classes_explain() -> None:
    noise = TEACHER.assign(**{"saw?": [0.011, 0.01, 0.01, 0.01]})  # its class means explain all of next to nothing
    labels = np.array([0, 1, 1, 1])
    table = question_table(noise, np.full((4, 2), np.nan), labels, ["jay", "owl"])
    crest = between_class_share(noise.to_numpy(dtype=np.float64), labels)[0]
    assert teacher_metrics(table, 4)["class_share"] == pytest.approx(crest, abs=1e-4)
    assert teacher_metrics(table[table["constant"]], 4)["class_share"] is None


def test_truth_is_absent_where_nothing_is_known_and_counts_the_known_questions_else() -> None:
    truth = np.full((4, 2), np.nan)
    assert metrics(truth)["teacher"]["truth"] == "absent"
    truth[:, 0] = [1, 0, 1, 1]
    known = metrics(truth)["teacher"]["truth"]
    assert known == {"questions": 1, "accuracy": 66.6667, "accuracy_least": 66.6667, "auc": 1.0, "auc_least": 1.0}


def test_rounded() -> None:
    assert rounded(1 / 3) == 0.3333
    assert rounded(np.float64("inf")) is None
