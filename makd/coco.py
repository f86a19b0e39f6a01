"""Datasets and detections in COCO's formats: a JSON of instances in, as tables, and a JSON of results out.

COCO's traps, and what is done about them:

- category ids have gaps (91 is the 80th): a category's label is its rank among the ids, from 0;
- crowd regions (iscrowd) are not trained on, and the evaluation neither rewards nor punishes what lies in them;
- pictures without a box stay: the evaluation counts what is detected there, the training by `empty_pictures`;
- boxes without an area inside their picture are dropped, and named.
"""

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import pandas as pd
from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt, TypeAdapter, ValidationError

from makd.errors import UserError
from makd.files import atomic_write

CATEGORIES = ["label", "coco_id", "name"]
PICTURES = ["coco_id", "file_name", "width", "height"]
BOXES = ["coco_id", "label", "left", "top", "width", "height", "area", "crowd"]
Id = Annotated[int, Field(ge=-(2**63), lt=2**63, description="a whole number of 64 bits")]


class Category(BaseModel):
    """An entry of `categories`; every description ends the sentence "must be"."""

    id: Id
    name: str = Field(description="a text")


class Picture(BaseModel):
    """An entry of `images`; 0 pixels stand for not told."""

    id: Id
    file_name: str = Field(min_length=1, description="the name of a file")
    width: NonNegativeInt = Field(default=0, description="a whole number of pixels, or left out")
    height: NonNegativeInt = Field(default=0, description="a whole number of pixels, or left out")


class Annotation(BaseModel):
    """An entry of `annotations`."""

    image_id: Id
    category_id: Id
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] = Field(
        description="four finite numbers: left, top, width, height"
    )
    area: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="a finite number from 0")
    iscrowd: bool = Field(default=False, description="0 or 1")


class Result(BaseModel):
    """A detection in COCO's result format."""

    image_id: Id
    category_id: Id
    bbox: list[FiniteFloat] = Field(min_length=4, max_length=4)  # pycocotools takes no tuples
    score: FiniteFloat


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
        [tuple(dict(entry).values()) for entry in entries(file, content, "images", Picture)], columns=PICTURES
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
    except (OSError, ValueError) as error:
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
    return entry.image_id, entry.category_id, left, top, width, height, area, entry.iscrowd


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
        return [dict(one) for one in TypeAdapter(list[Result]).validate_json(path.read_bytes())]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path} is not in COCO's result format: {place}: {first['msg']}; {mending}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {mending}") from None
