"""An annotation file in COCO's format, entry by entry."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from makd.coco import read_coco
from makd.errors import UserError

CONTENT: dict[str, list[dict[str, Any]]] = {
    "images": [{"id": 7, "file_name": "a.jpg"}],
    "categories": [{"id": 3, "name": "owl"}],
    "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 30, 40], "area": 900}],
}


def written(tmp_path: Path, key: str, **values: Any) -> Path:
    content = {name: [dict(entry) for entry in entries] for name, entries in CONTENT.items()}
    content[key][0] |= values
    file = tmp_path / "set.json"
    file.write_text(json.dumps(content))
    return file


def test_an_outline_decides_the_area_and_without_one_the_box_does(tmp_path: Path) -> None:
    assert read_coco(written(tmp_path, "images")).boxes["area"].tolist() == [900]
    assert read_coco(written(tmp_path, "annotations", area=None)).boxes["area"].tolist() == [1200]


def test_a_picture_need_not_tell_its_size_and_a_box_is_no_crowd_unless_it_says_so(tmp_path: Path) -> None:
    found = read_coco(written(tmp_path, "images"))
    assert found.pictures[["width", "height"]].to_numpy().tolist() == [[0, 0]]
    assert found.boxes["crowd"].tolist() == [False]
    assert read_coco(written(tmp_path, "annotations", iscrowd=1)).boxes["crowd"].tolist() == [True]


def test_null_is_not_told_and_a_category_may_be_a_number(tmp_path: Path) -> None:
    assert read_coco(written(tmp_path, "annotations", iscrowd=None)).boxes["crowd"].tolist() == [False]
    assert read_coco(written(tmp_path, "images", width=None, height=None)).pictures["width"].tolist() == [0]
    assert read_coco(written(tmp_path, "categories", name=7)).categories["name"].tolist() == ["7"]


def test_a_json_that_is_nested_without_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"set\.json cannot be read as JSON: maximum recursion depth"):
        read_coco(tmp_path / "set.json")


@pytest.mark.parametrize(
    ("key", "name", "value", "expected"),
    [
        ("annotations", "area", -5, "a finite number from 0"),
        ("annotations", "area", math.nan, "a finite number from 0"),
        ("annotations", "iscrowd", 2, "0 or 1"),
        ("annotations", "bbox", "1234", "four finite numbers: left, top, width, height"),
        ("annotations", "bbox", None, "four finite numbers: left, top, width, height"),
        ("annotations", "category_id", 1.5, "a whole number of 64 bits"),
        ("images", "id", math.inf, "a whole number of 64 bits"),
        ("images", "id", 10**30, "a whole number of 64 bits"),
        ("images", "file_name", None, "the name of a file"),
        ("images", "width", -3, "a whole number of pixels, or left out"),
        ("categories", "name", None, "a text"),
    ],
)
def test_a_malformed_entry_is_named(tmp_path: Path, key: str, name: str, value: Any, expected: str) -> None:
    file = written(tmp_path, key, **{name: value})
    with pytest.raises(UserError) as error:
        read_coco(file)
    said = value if value not in (math.inf,) else "inf"
    assert str(error.value) == f"{file}, {key}[0]: {name} must be {expected}, got {said}"


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("images", {"id": 7, "file_name": "b.jpg"}, "image id 7 twice"),
        ("images", {"id": 8, "file_name": "a.jpg"}, "picture a.jpg twice"),
        ("categories", {"id": 3, "name": "elk"}, "category id 3 twice"),
        ("categories", {"id": 4, "name": "owl"}, "category owl twice"),
        ("images", 5, r"images\[1\] must be an object, got 5"),
    ],
)
def test_what_stands_twice_is_named(tmp_path: Path, key: str, entry: Any, message: str) -> None:
    content = CONTENT | {key: [*CONTENT[key], entry]}
    (tmp_path / "set.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_coco(tmp_path / "set.json")


@pytest.mark.parametrize("key", ["images", "categories"])
def test_an_empty_list_is_named(tmp_path: Path, key: str) -> None:
    (tmp_path / "set.json").write_text(json.dumps(CONTENT | {key: [], "annotations": []}))
    with pytest.raises(UserError, match=f"the list '{key}' is empty"):
        read_coco(tmp_path / "set.json")
