"""Average precision as COCO defines it, computed by pycocotools."""

from contextlib import redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from makd.detection_set import DetectionSet

MEASURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""Over IoU .50 to .95, at .50, at .75; of objects below 32² pixels, up to 96² and above, over all IoU."""


class AveragePrecision(NamedTuple):
    """In percent; NaN where no object counts, such as of small ones where there are none."""

    overall: dict[str, float]  # by MEASURES
    categories: Float[np.ndarray, " categories"]  # AP by label; NaN of a category that is in no picture


def average_precision(found: DetectionSet, results: list[dict[str, Any]]) -> AveragePrecision:
    """AP of detections in COCO's result format.

    Args:
        found: the pictures of one split, all of which count, also those without boxes.
        results: with the dataset's own ids.
    """
    truth = coco_object(found)
    with redirect_stdout(StringIO()):
        # loadRes fails on an empty list; a dataset without annotations is the same.
        detected = truth.loadRes(results) if results else coco_object(found._replace(boxes=found.boxes.iloc[:0]))
        evaluation = COCOeval(truth, detected, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    overall = {
        name: 100 * number_or_nan(value)
        for name, value in zip(MEASURES, evaluation.stats[: len(MEASURES)], strict=True)
    }
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU x recall x category, all areas, 100 detections
    by_category = [mean_precision(precision[:, :, place]) for place in range(precision.shape[2])]
    order = [evaluation.params.catIds.index(coco_id) for coco_id in found.categories.sort_values("label")["coco_id"]]
    return AveragePrecision(overall, 100 * np.array(by_category)[order])


def coco_object(found: DetectionSet) -> COCO:
    """The ground truth; its annotations are numbered from 1, for pycocotools takes the id 0 for no match."""
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [
            {"id": int(picture.coco_id), "width": int(picture.width), "height": int(picture.height)}
            for picture in found.pictures.itertuples()
        ],
        "categories": [
            {"id": int(category.coco_id), "name": category.name} for category in found.categories.itertuples()
        ],
        "annotations": annotations(found),
    }
    with redirect_stdout(StringIO()):
        coco.createIndex()
    return coco


def annotations(found: DetectionSet) -> list[dict[str, Any]]:
    ids = dict(zip(found.categories["label"], found.categories["coco_id"], strict=True))
    return [
        {
            "id": number,
            "image_id": int(box.coco_id),
            "category_id": int(ids[box.label]),
            "bbox": [box.left, box.top, box.width, box.height],
            "area": box.area,
            "iscrowd": int(box.crowd),
        }
        for number, box in enumerate(found.boxes.itertuples(), start=1)
    ]


def number_or_nan(value: float) -> float:
    """Pycocotools' -1 stands for nothing to measure."""
    return float(value) if value > -1 else np.nan


def mean_precision(precision: Float[np.ndarray, "ious recalls"]) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if len(known) else np.nan


def size_counts(found: DetectionSet) -> dict[str, int]:
    """Boxes that count, by MEASURES: those of an area between two sizes count for both, as pycocotools has it."""
    area = found.boxes.loc[~found.boxes["crowd"], "area"]
    every, *sizes = (int(area.between(*bounds).sum()) for bounds in COCOeval(iouType="bbox").params.areaRng)
    return dict(zip(MEASURES, (every, every, every, *sizes), strict=True))


def category_counts(found: DetectionSet) -> "pd.Series[int]":
    """Boxes that count, by label."""
    counts = found.boxes.loc[~found.boxes["crowd"], "label"].value_counts()
    return counts.reindex(found.categories["label"], fill_value=0)
