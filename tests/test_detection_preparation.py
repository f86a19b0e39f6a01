"""The tables of a detection dataset: boxes that count, which way up they lie, and the class of a picture."""

import pandas as pd
import pytest

from makd.detection_preparation import in_frames, manifest_of, without_degenerate
from makd.detection_set import DetectionSet
from makd.orientation import Frame

PICTURES = pd.DataFrame({"split": "train", "coco_id": [7], "path": ["a.png"], "width": [100], "height": [50]})


def boxes(*rows: tuple[float, float, float, float]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["left", "top", "width", "height"], dtype=float)
    return found.assign(split="train", coco_id=7, crowd=False, area=found["width"] * found["height"])


@pytest.mark.parametrize(
    "outside",
    [
        (-20, 5, 10, 10),
        (110, 5, 10, 10),
        (5, -20, 10, 10),
        (5, 60, 10, 10),
        (-20, 5, 20, 10),
        (5, 50, 10, 10),
        (5, 5, 0.0005, 10),
        (5, 5, 10, 0.0005),
        (5, 5, -10, 10),
    ],
)
def test_boxes_without_an_area_in_their_picture_are_dropped_and_named(
    outside: tuple[float, float, float, float],
) -> None:
    hanging_over = [(-5, 5, 10, 10), (95, 5, 10, 10), (5, -5, 10, 10), (5, 45, 10, 10)]
    kept, dropped = without_degenerate(PICTURES, boxes(*hanging_over[:2], outside, *hanging_over[2:]))
    pd.testing.assert_frame_equal(kept, boxes(*hanging_over))
    assert dropped == [f"a.png: [{', '.join(map(str, outside))}]"]


def test_the_class_of_a_picture_is_that_of_its_largest_object() -> None:
    found = boxes((0, 0, 10, 10), (0, 0, 20, 20), (0, 0, 5, 5), (0, 0, 40, 40))
    found = found.assign(label=[0, 1, 2, 3], crowd=[False, False, False, True])
    categories = pd.DataFrame({"label": range(4), "coco_id": range(4), "name": ["auk", "owl", "tit", "yak"]})
    manifest = manifest_of(DetectionSet(PICTURES, found, categories))
    assert manifest[["label", "class_name"]].to_numpy().tolist() == [[1, "owl"]], "a crowd is no object"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 50), [100, 50, 6]),
        ((50, 100), [50, 100, 1]),
        ((0, 0), [50, 100, 1]),
    ],
    ids=["as stored", "upright", "not said"],
)
def test_the_size_in_the_json_says_which_way_up_boxes_lie(size: tuple[int, int], expected: list[int]) -> None:
    rows = PICTURES.assign(image_id="a", width=size[0], height=size[1])
    found = in_frames(rows, {"a": Frame(100, 50, 6)})
    assert found[["width", "height", "orientation"]].iloc[0].tolist() == expected
