"""From a JSON of instances to a detection dataset, and what the question stages read of it."""

import numpy as np
import pandas as pd

from makd.coco import CocoSet
from makd.detection_set import DetectionSet
from makd.errors import UserError, some
from makd.orientation import UPRIGHT, Frame

NO_OBJECT = "no object"
"""The class, in the manifest, of a picture without a box."""
LEAST_PX = 1e-3  # of a side: a thinner box has none left in float32


def in_frames(rows: pd.DataFrame, frames: dict[str, Frame]) -> pd.DataFrame:
    """Add `orientation` to pictures with image_id, path, width and height; the JSON's size says how boxes lie.

    Where the JSON has no size, they lie in the upright picture.

    Raises:
        UserError: pictures of another size than the JSON says, whichever way up.
    """
    found, wrong = [], []
    for picture in rows.itertuples():
        frame, size = frames[picture.image_id], (picture.width, picture.height)
        if size in (frame.upright_size, (0, 0)):
            found.append((*frame.upright_size, UPRIGHT))
            continue
        if size != frame[:2]:
            wrong.append(f"{picture.path} ({frame.width} x {frame.height}, not {size[0]} x {size[1]})")
        found.append(frame)
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(rows)} pictures are not of the size that the annotations say, so their boxes "
            f"would be misplaced: {some(wrong, 3, '; ')}; bring back the pictures that were annotated, or mend the JSON"
        )
    columns = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return rows.assign(width=columns[0], height=columns[1], orientation=columns[2])


def without_degenerate(pictures: pd.DataFrame, boxes: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Boxes that have an area inside their picture, and what to say of the others."""
    sizes = pictures[["split", "coco_id", "path", "width", "height"]]
    wide = boxes.merge(sizes, on=["split", "coco_id"], how="left", suffixes=("", "_picture"))
    right, bottom = wide["left"] + wide["width"], wide["top"] + wide["height"]
    inside_x = np.minimum(right, wide["width_picture"]) - wide["left"].clip(lower=0)
    inside_y = np.minimum(bottom, wide["height_picture"]) - wide["top"].clip(lower=0)
    good = ((inside_x > LEAST_PX) & (inside_y > LEAST_PX)).to_numpy()
    dropped = [
        f"{box.path}: [{box.left:g}, {box.top:g}, {box.width:g}, {box.height:g}]" for box in wide[~good].itertuples()
    ]
    return boxes[good].reset_index(drop=True), dropped


def manifest_of(found: DetectionSet) -> pd.DataFrame:
    """A row a picture, as `makd.manifest.write_manifest` takes them: its class is that of its largest object.

    The aspects are asked of whole pictures; the class serves the controls of `aspect_targets` alone.
    """
    by_area = found.boxes[~found.boxes["crowd"]].sort_values("area", ascending=False, kind="stable")
    largest = by_area.drop_duplicates(["split", "coco_id"])[["split", "coco_id", "label"]]
    rows = found.pictures.merge(largest, on=["split", "coco_id"], how="left")
    label = rows["label"].fillna(len(found.categories)).astype("int64")
    return rows.assign(label=label, class_name=label.map(dict(enumerate([*found.names, NO_OBJECT]))))


def shown_of(found: DetectionSet) -> pd.DataFrame:
    """A row a picture and category that it shows, in the columns of a manifest: which categories there are, how often.

    What writes and ranks the questions reads this in place of a classifier's manifest. Labels are numbered anew, for
    some categories may be in no picture.
    """
    pairs = found.boxes[["split", "coco_id", "label"]].drop_duplicates()
    rows = pairs.merge(found.pictures[["split", "coco_id", "image_id", "path"]], on=["split", "coco_id"])
    names = rows["label"].map(dict(enumerate(found.names)))
    return rows.assign(label=names.map({name: i for i, name in enumerate(sorted(names.unique()))}), class_name=names)


def joined(sets: dict[str, CocoSet], categories: pd.DataFrame) -> DetectionSet:
    """The splits, one after the other, before their pictures have been looked at."""
    pictures, boxes = (
        pd.concat([getattr(part, name).assign(split=split) for split, part in sets.items()], ignore_index=True)
        for name in ("pictures", "boxes")
    )
    return DetectionSet(pictures, boxes, categories)
