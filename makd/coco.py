"""Datasets and detections in COCO's formats: a JSON of instances in, as tables, and a JSON of results out.

COCO's traps, and what is done about them:

- category ids have gaps (91 is the 80th): a category's label is its rank among the ids, from 0;
- crowd regions (iscrowd) are not trained on, and the evaluation neither rewards nor punishes what lies in them;
- pictures without a box stay: the evaluation counts what is detected there, the training by `empty_pictures`;
- boxes without an area inside their picture are dropped, and named.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from makd.errors import UserError
from makd.files import atomic_write

T = TypeVar("T")
CATEGORIES = ["label", "coco_id", "name"]
PICTURES = ["coco_id", "file_name", "width", "height"]
BOXES = ["coco_id", "label", "left", "top", "width", "height", "area", "crowd"]


class CocoSet(NamedTuple):
    """One instances_*.json, in its order."""

    pictures: pd.DataFrame  # PICTURES; width and height are those of the JSON, 0 where it has none
    boxes: pd.DataFrame  # BOXES; coco_id is that of the picture, lengths in pixels
    categories: pd.DataFrame  # CATEGORIES, by label


def read_coco(file: Path) -> CocoSet:
    """Read and check a JSON of instances.

    Raises:
        UserError: the file, and in which entry it is not what it must be.
    """
    content = read_json(file)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f"{file} must be a JSON object with a list {key!r}, as COCO's instances_*.json have")
    categories = table(file, content, "categories", lambda entry: (int(entry["id"]), str(entry["name"])))
    categories = pd.DataFrame(categories, columns=CATEGORIES[1:]).sort_values("coco_id", ignore_index=True)
    categories.insert(0, "label", range(len(categories)))
    pictures = pd.DataFrame(table(file, content, "images", picture_row), columns=PICTURES)
    boxes = pd.DataFrame(table(file, content, "annotations", box_row), columns=BOXES)
    for column, found, key in (
        ("coco_id", categories, "category id"),
        ("name", categories, "category"),
        ("coco_id", pictures, "image id"),
    ):
        if (twice := found[column][found[column].duplicated()]).size:
            raise UserError(f"{file} has the {key} {twice.iloc[0]} twice; keep one")
    check_known(file, boxes["label"], categories["coco_id"], "category_id")
    check_known(file, boxes["coco_id"], pictures["coco_id"], "image_id")
    labels = dict(zip(categories["coco_id"], categories["label"], strict=True))
    return CocoSet(pictures, boxes.assign(label=boxes["label"].map(labels).astype("int64")), categories)


def read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{file} is missing; expected the instances of a dataset in COCO's format") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {' '.join(str(error).split())}") from None


def table(file: Path, content: dict[str, Any], key: str, row: Callable[[Any], T]) -> list[T]:
    rows = []
    for number, entry in enumerate(content[key]):
        try:
            rows.append(row(entry))
        except KeyError as error:
            raise UserError(f"{file}, {key}[{number}] has no {error}") from None
        except (TypeError, ValueError) as error:
            raise UserError(f"{file}, {key}[{number}]: {' '.join(str(error).split())}; got {str(entry)[:80]}") from None
    return rows


def picture_row(entry: Any) -> tuple[int, str, int, int]:
    return int(entry["id"]), str(entry["file_name"]), int(entry.get("width", 0)), int(entry.get("height", 0))


def box_row(entry: Any) -> tuple[int, int, float, float, float, float, float, bool]:
    """With COCO's id of the category in the place of the label."""
    box = [float(value) for value in entry["bbox"]]
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError("bbox must be four finite numbers: left, top, width, height")
    left, top, width, height = box
    area = float(entry.get("area", width * height))  # of the outline where COCO has one: it decides small to large
    ids = int(entry["image_id"]), int(entry["category_id"])
    return *ids, left, top, width, height, area, bool(entry.get("iscrowd", 0))


def check_known(file: Path, ids: "pd.Series[int]", known: "pd.Series[int]", what: str) -> None:
    unknown = ids[~ids.isin(known)]
    if len(unknown):
        raise UserError(f"{file}, annotations[{unknown.index[0]}]: no such {what} as {unknown.iloc[0]}")


def same_categories(train: CocoSet, test: CocoSet, files: tuple[Path, Path]) -> pd.DataFrame:
    """The categories of a dataset whose parts agree on them."""
    if not train.categories.equals(test.categories):
        differ = set(train.categories["name"]) ^ set(test.categories["name"])
        raise UserError(
            f"{files[0]} and {files[1]} have different categories"
            + (f", such as {sorted(differ)[0]!r}" if differ else " (in their ids)")
            + "; give both the same list"
        )
    return train.categories


def write_results(detections: pd.DataFrame, path: Path) -> None:
    """COCO's result format, a line a detection; see `read_results`."""
    lines = [
        f'{{"image_id":{image},"category_id":{category},"bbox":[{left},{top},{width},{height}],"score":{score}}}'
        for image, category, left, top, width, height, score in detections.itertuples(index=False)
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read_results(path: Path, mending: str) -> list[dict[str, Any]]:
    """Dicts of image_id, category_id (COCO's ids), bbox (left, top, width, height in pixels) and score (0 to 1).

    Raises:
        UserError: there is no such file, or it is damaged; the message ends with `mending`.
    """
    try:
        found: list[dict[str, Any]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}; {mending}") from None
    return found
