"""AP is pycocotools' own, on a tiny set and, where they are at hand, on real pictures of COCO."""

import json
import os
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from makd.coco_metrics import MEASURES, average_precision, category_counts
from makd.coco_results import read_results, write_results
from makd.detection_results import COLUMNS
from makd.detection_set import DetectionSet, read_set
from tests.made_up_detection import CATEGORIES, TABLES, detection_params, prepare

COCO_MINI = Path(os.environ.get("MAKD_COCO_MINI", "absent"))
"""A folder with annotations/instances_train2017.json, instances_val2017.json and the pictures, as COCO's own."""


def official(truth: Path, results: list[dict[str, Any]], drop: frozenset[int] = frozenset()) -> COCOeval:
    """What pycocotools says about the dataset's own file, ids from 1 as it wants them, without some annotations."""
    content = json.loads(truth.read_text())
    content["annotations"] = [
        {"area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0} | entry | {"id": number}
        for number, entry in enumerate(content["annotations"], start=1)
        if entry["id"] not in drop
    ]
    with redirect_stdout(StringIO()):
        coco = COCO()
        coco.dataset = {"info": {}} | content
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def noisy_results(test: DetectionSet, seed: int = 0) -> list[dict[str, Any]]:
    """Annotated boxes a little off, some of another category, and some about nothing."""
    rng = np.random.default_rng(seed)
    ids = list(test.categories["coco_id"])
    results = []
    for box in test.boxes.itertuples():
        for _ in range(rng.integers(1, 4)):
            shift = rng.normal(0, 0.08, 4) * [box.width, box.height, box.width, box.height]
            corners = np.array([box.left, box.top, box.width, box.height]) + shift
            label = box.label if rng.random() < 0.8 else rng.integers(len(ids))
            results.append([box.coco_id, ids[label], *corners.round(3), round(rng.random(), 6)])
    for picture in test.pictures.itertuples():
        results.append([picture.coco_id, ids[rng.integers(len(ids))], 1.0, 1.0, 20.0, 20.0, 0.3])
    path = Path("noisy.json")
    write_results(pd.DataFrame(results, columns=COLUMNS), path)
    return read_results(path, "")


def assert_same(test: DetectionSet, evaluation: COCOeval, results: list[dict[str, Any]]) -> None:
    found = average_precision(test, results)
    expected = [value if value > -1 else np.nan for value in evaluation.stats[: len(MEASURES)]]
    np.testing.assert_allclose([found.overall[name] / 100 for name in MEASURES], expected, atol=1e-6)
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for place, coco_id in enumerate(evaluation.params.catIds):
        known = precision[:, :, place][precision[:, :, place] > -1]
        label = int(test.categories.set_index("coco_id")["label"][coco_id])
        np.testing.assert_allclose(
            found.categories[label] / 100, known.mean() if len(known) else np.nan, atol=1e-6, err_msg=str(coco_id)
        )


@pytest.fixture
def test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DetectionSet:
    monkeypatch.chdir(tmp_path)
    prepare()
    return read_set(*[Path(f"{name}.parquet") for name in TABLES]).of("test")


def test_ap_is_that_of_pycocotools(test_set: DetectionSet) -> None:
    results = noisy_results(test_set)
    assert_same(test_set, official(Path("set/test.json"), results, drop=frozenset({102})), results)


def test_perfect_detections_have_an_ap_of_100_and_none_have_0(test_set: DetectionSet) -> None:
    ids = test_set.categories.set_index("label")["coco_id"]
    perfect = [
        {
            "image_id": box.coco_id,
            "category_id": int(ids[box.label]),
            "bbox": [box.left, box.top, box.width, box.height],
            "score": 0.9,
        }
        for box in test_set.boxes[~test_set.boxes["crowd"]].itertuples()
    ]
    found = average_precision(test_set, perfect)
    assert found.overall["AP"] == pytest.approx(100)
    assert np.isnan(found.overall["APl"]), "there is no large object"
    nothing = average_precision(test_set, [])
    assert nothing.overall["AP"] == 0
    without = set(np.flatnonzero(category_counts(test_set) == 0))
    assert {label for label in range(len(CATEGORIES)) if np.isnan(nothing.categories[label])} == without


@pytest.mark.real
@pytest.mark.skipif(not COCO_MINI.is_dir(), reason="MAKD_COCO_MINI names no folder of COCO pictures")
def test_ap_on_real_pictures_is_that_of_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = detection_params(dataset="coco2017")
    params["prepare_detection"] |= {"root": str(COCO_MINI.resolve())}
    prepare(params)
    test = read_set(*[Path(f"{name}.parquet") for name in TABLES]).of("test")
    file = COCO_MINI / "annotations/instances_val2017.json"
    kept = len(test.boxes)
    assert kept == len(json.loads(file.read_text())["annotations"])
    for seed in range(3):
        results = noisy_results(test, seed)
        assert_same(test, official(file, results), results)
