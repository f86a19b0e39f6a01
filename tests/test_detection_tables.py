"""The tables of a detection report, from numbers made up."""

import numpy as np
import pandas as pd
import pytest

from makd.agreement import agreement
from makd.coco_metrics import MEASURES, AveragePrecision
from makd.detection_tables import RunKey, ap_markdown, ap_table, detection_metrics, run_table

BOXES = dict(zip(MEASURES, (9, 9, 9, 2, 7, 0), strict=True))


def precision(ap: float) -> AveragePrecision:
    return AveragePrecision(dict.fromkeys(MEASURES, ap), np.array([ap]))


def found() -> dict[RunKey, AveragePrecision]:
    """The arms' seeds stand in another order, and differ by -1, 5 and -10."""
    baseline, makd = {0: 10.0, 1: 20.0, 2: 30.0}, {2: 20.0, 0: 9.0, 1: 25.0}
    keyed = {RunKey("net", "baseline", seed): precision(ap) for seed, ap in baseline.items()}
    return keyed | {RunKey("net", "makd", seed): precision(ap) for seed, ap in makd.items()}


def test_the_gap_is_taken_seed_by_seed() -> None:
    table = ap_table(run_table(found())).set_index("arm")
    assert table["AP"].tolist() == pytest.approx([20, 18, -2])
    assert table["AP50_std"].tolist() == pytest.approx([10, 67**0.5, 57**0.5])
    assert table["n_seeds"].tolist() == [3, 3, 3]


def test_the_table_says_how_many_boxes_count() -> None:
    lines = ap_markdown(ap_table(run_table(found())), BOXES).splitlines()
    assert [cell.strip() for cell in lines[-2].split("|")[2:5]] == ["gap", "-2.0 ± 7.5", "-2.0 ± 7.5"]
    assert [cell.strip() for cell in lines[-1].split("|")[2:-1]] == ["test boxes", "9", "9", "9", "2", "7", "0"]


def test_metrics_are_means_over_the_seeds() -> None:
    teacher = np.random.default_rng(0).random((6, 2), dtype=np.float32)
    of_seeds = [agreement(teacher, teacher), agreement(teacher[::-1].copy(), teacher)]
    one, other = (float(np.nanmean(seed.abs_diff)) for seed in of_seeds)
    assert other > one
    metrics = detection_metrics(ap_table(run_table(found())), {"net": of_seeds}, {"train": 3, "test": 2}, BOXES)
    assert metrics["models"]["net"]["aspects"]["abs_diff"] == pytest.approx((one + other) / 2, abs=1e-4)
    assert metrics["test_boxes"]["APs"] == 2
    assert metrics["models"]["net"]["gap"]["AP"] == -2
    assert pd.notna(metrics["models"]["net"]["makd"]["AP_std"])
