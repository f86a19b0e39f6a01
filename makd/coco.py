"""A dataset in COCO's format: a JSON of instances, as tables.

COCO's traps, and what is done about them:

- category ids have gaps (91 is the 80th): a category's label is its rank among the ids, from 0;
- crowd regions (iscrowd) are not trained on, and the evaluation neither rewards nor punishes what lies in them;
- pictures without a box stay: the evaluation counts what is detected there, the training by `empty_pictures`;
- boxes without an area inside their picture are dropped, and named.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, TypeAdapter, ValidationError

from makd.coco_results import Id
from makd.errors import UserError

CATEGORIES = ["label", "coco_id", "name"]
PICTURES = ["coco_id", "file_name", "width", "height"]
BOXES = ["coco_id", "label", "left", "top", "width", "height", "area", "crowd"]


class Category(BaseModel):
    """An entry of `categories`, which may be called by a number; every description ends the sentence "must be"."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: Id
    name: str = Field(description="a text")


class Picture(BaseModel):
    """An entry of `images`; what need not be told may be null."""

    id: Id
    file_name: str = Field(min_length=1, description="the name of a file")
    width: NonNegativeInt | None = Field(default=None, description="a whole number of pixels, or left out")
    height: NonNegativeInt | None = Field(default=None, description="a whole number of pixels, or left out")


class Annotation(BaseModel):
    """An entry of `annotations`."""

    image_id: Id
    category_id: Id
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] = Field(
        description="four finite numbers: left, top, width, height"
    )
    area: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="a finite number from 0")
    iscrowd: bool | None = Field(default=None, description="0 or 1")


Entry = TypeVar("Entry", Category, Picture, Annotation)


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
    categories = pd.DataFrame(
        [(entry.id, entry.name) for entry in entries(file, content, "categories", Category)], columns=CATEGORIES[1:]
    ).sort_values("coco_id", ignore_index=True)
    categories.insert(0, "label", range(len(categories)))
    pictures = pd.DataFrame(
        [
            (entry.id, entry.file_name, entry.width or 0, entry.height or 0)
            for entry in entries(file, content, "images", Picture)
        ],
        columns=PICTURES,
    )
    boxes = pd.DataFrame([box_row(entry) for entry in entries(file, content, "annotations", Annotation)], columns=BOXES)
    for key, found_rows in (("categories", categories), ("images", pictures)):
        if found_rows.empty:
            raise UserError(f"{file}: the list {key!r} is empty; give the {key} of the dataset")
    for column, found, key in (
        ("coco_id", categories, "category id"),
        ("name", categories, "category"),
        ("coco_id", pictures, "image id"),
        ("file_name", pictures, "picture"),
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
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {' '.join(str(error).split())}") from None


def entries(file: Path, content: dict[str, Any], key: str, kind: type[Entry]) -> list[Entry]:
    try:
        return TypeAdapter(list[kind]).validate_python(content[key])  # type: ignore[valid-type]
    except ValidationError as error:
        problem = error.errors()[0]
    number, *place = problem["loc"]
    entry = content[key][number]
    if not place:
        raise UserError(f"{file}, {key}[{number}] must be an object, got {str(entry)[:80]}")
    name = str(place[0])
    if name not in entry:
        raise UserError(f"{file}, {key}[{number}] has no {name!r}")
    expected = kind.model_fields[name].description
    raise UserError(f"{file}, {key}[{number}]: {name} must be {expected}, got {str(entry[name])[:80]}")


def box_row(entry: Annotation) -> tuple[int, int, float, float, float, float, float, bool]:
    """With COCO's id of the category in the place of the label."""
    left, top, width, height = entry.bbox
    area = width * height if entry.area is None else entry.area  # of the outline if told: it decides small to large
    return entry.image_id, entry.category_id, left, top, width, height, area, bool(entry.iscrowd)


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
