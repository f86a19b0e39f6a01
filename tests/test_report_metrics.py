from typing import Any

import numpy as np
import pandas as pd
import pytest

from makd.agreement import Agreement
from makd.metrics import Comparison, between_class_share
from makd.report_metrics import details, report_metrics, rounded, significant, teacher_metrics
from makd.tables import question_table

MANIFEST = pd.DataFrame({"split": ["train", "train", "val", "test"]})
TEACHER = pd.DataFrame({"crest?": [0.9, 0.1, 0.2, np.nan], "saw?": [0.01, 0.01, 0.01, 0.01]})


def metrics(truth: np.ndarray) -> dict[str, Any]:
    one = Comparison(np.array([50.0]), np.array([55.00001]), 1.0, 9.0, 1.23456e-9)
    none = Comparison(np.array([np.nan]), np.array([np.nan]), np.nan, np.nan, np.nan)
    none_of_two = np.full(2, np.nan)
    agreements = [
        Agreement(
            answers=np.array([3, 1]),
            auc=np.array([0.75, np.nan]),
            spearman=np.array([0.5, np.nan]),
            brier=np.array([0.25, 0.25]),
            kl_nats=none_of_two,
            abs_diff=np.array([0.1, 0.2]),
        )
    ]
    questions = question_table(TEACHER, truth, np.array([0, 1, 1, 1]), ["jay", "owl"])
    return report_metrics(MANIFEST, {"resnet18": {"test": one, "val": none}}, {"resnet18": agreements}, questions)


def test_a_number_that_does_not_exist_is_null() -> None:
    model = metrics(np.full((4, 2), np.nan))["models"]["resnet18"]
    expected = {"baseline": 50.0, "baseline_std": None, "makd": 55.0, "makd_std": None}
    assert model["test"] == expected | {
        "gap": 5.0,
        "gap_std": None,
        "gap_low": 1.0,
        "gap_high": 9.0,
        "p_value": 1.23e-9,
    }
    assert set(model["val"].values()) == {None}
    assert model["aspects"] == {"auc": 0.75, "spearman": 0.5, "brier": 0.25, "kl_nats": None, "abs_diff": 0.125}


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


def test_a_small_p_keeps_its_digits() -> None:
    assert significant(1.23456e-9) == 1.23e-9
    assert significant(1.0) == 1
    assert significant(np.nan) is None


def test_aspects_are_means_over_the_seeds() -> None:
    def seed(value: float) -> Agreement:
        one = np.array([value])
        return Agreement(np.array([4]), one, one / 2, one / 4, one / 8, one / 16)

    comparison = Comparison(np.array([50.0, 51]), np.array([55.0, 56]), 1.0, 9.0, 0.5)
    questions = question_table(TEACHER[["crest?"]], np.full((4, 1), np.nan), np.array([0, 1, 1, 1]), ["jay", "owl"])
    by_split = {"test": comparison, "val": comparison}
    found = report_metrics(MANIFEST, {"m": by_split}, {"m": [seed(0.6), seed(0.8)]}, questions)
    assert found["models"]["m"]["aspects"] == pytest.approx(
        {"auc": 0.7, "spearman": 0.35, "brier": 0.175, "kl_nats": 0.0875, "abs_diff": 0.0438}, abs=1e-4
    )


def test_details_are_the_classes_and_the_questions_of_each_model() -> None:
    classes = pd.DataFrame(
        {
            "model": ["n", "n", "m", "m"],
            "class": ["jay", "owl", "jay", "owl"],
            "baseline": [1.0, 2.0, 3.0, 4.0],
            "makd": [50.0, np.nan, 200 / 3, 0.0],
        }
    )
    agreements = pd.DataFrame(
        {"model": ["n", "n", "m", "m"], "question": ["a?", "b?"] * 2, "auc": [0.9, np.nan, 0.75, 0.5], "brier": 0.1}
    )
    found = details(classes, agreements)
    assert found == {
        "n": {"classes": {"jay": 50.0, "owl": None}, "questions": {"a?": 0.9, "b?": None}},
        "m": {"classes": {"jay": 66.6667, "owl": 0.0}, "questions": {"a?": 0.75, "b?": 0.5}},
    }
    assert list(found) == ["n", "m"]
