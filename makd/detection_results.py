"""From a detector's boxes to COCO's result format, in the frame and with the ids of the dataset."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from makd.detection_pictures import BoxedPicture
from makd.orientation import turn_back

COLUMNS = ["image_id", "category_id", "left", "top", "width", "height", "score"]
BOX_DIGITS, SCORE_DIGITS = 3, 6  # of pixels and scores


def detection_rows(
    detections: Sequence[dict[str, Tensor]], pictures: Sequence[BoxedPicture], categories: pd.DataFrame
) -> pd.DataFrame:
    """A row a detection: COLUMNS, with the dataset's own ids, lengths in pixels, scores in [0, 1].

    Args:
        detections: as `makd.detection_training.detect` gives them, corners in upright pictures.
        pictures: the same, in the same order.
        categories: label and coco_id.
    """
    ids = categories.sort_values("label")["coco_id"].to_numpy()
    parts = []
    for found, picture in zip(detections, pictures, strict=True):
        corners = turn_back(found["boxes"].numpy().astype(np.float64), picture.frame)
        left, top, right, bottom = corners.T
        columns = [left, top, right - left, bottom - top]
        rows = {name: column.round(BOX_DIGITS) for name, column in zip(COLUMNS[2:6], columns, strict=True)}
        category = ids[found["labels"].numpy().astype(np.int64) - 1]
        score = found["scores"].numpy().astype(np.float64).round(SCORE_DIGITS)
        parts.append(pd.DataFrame({"image_id": picture.coco_id, "category_id": category, **rows, "score": score}))
    return pd.concat(parts, ignore_index=True)[COLUMNS]
