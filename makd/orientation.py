"""Which way up the boxes of a picture are: as a viewer shows it, or as its pixels are stored.

Teacher and student see pictures upright (makd/pictures.py). Annotation tools disagree on whether they do; the width and
height in a dataset's JSON tell, where EXIF swaps them. A picture that EXIF turns by 180 degrees or mirrors has the same
size either way: its boxes are taken to be those of the upright one, which is what browsers and most tools show.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image

from makd.files import cache_dir, main_checkout, read_memo, write_json
from makd.pictures import load_rgb

UPRIGHT = 1
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

Boxes = Float[np.ndarray, "boxes 4"]
"""Corners: left, top, right, bottom, in pixels."""


class Frame(NamedTuple):
    """The size of a stored picture, and its EXIF orientation."""

    width: int
    height: int
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        return (self.height, self.width) if self.orientation in SIDEWAYS else (self.width, self.height)


def read_frames(paths: dict[str, str]) -> dict[str, Frame]:
    """The frame of each readable picture, path by image_id, remembered by content.

    The upright size is that of `makd.pictures.load_rgb`: where that does not turn a picture, it counts as upright.
    """
    memo_file = cache_dir() / "frames.json"
    memo = read_memo(memo_file, dict)
    fresh = [image_id for image_id in paths if image_id not in memo]
    for image_id in fresh:
        memo[image_id] = list(read_frame(main_checkout() / paths[image_id]))
    if fresh:
        write_json(memo, memo_file)
    return {image_id: Frame(*memo[image_id]) for image_id in paths}


def read_frame(file: Path) -> Frame:
    with Image.open(file) as image:
        stored = image.size
        try:
            orientation = int(image.getexif().get(ExifTags.Base.Orientation, UPRIGHT))
        except Exception:  # a malformed block: Pillow raises nearly every type
            orientation = UPRIGHT
    if orientation not in SIDEWAYS or load_rgb(file).size == stored:
        return Frame(stored[0], stored[1], UPRIGHT)
    return Frame(stored[0], stored[1], orientation)


def turn_upright(boxes: Boxes, frame: Frame) -> Boxes:
    """Boxes of the stored picture as boxes of the upright one."""
    if frame.orientation == UPRIGHT:
        return boxes
    left, top, right, bottom = boxes.T
    # Of the upright picture, x is measured along the stored y, from its end where EXIF turns clockwise (6, 7).
    x = (frame.height - bottom, frame.height - top) if frame.orientation in (6, 7) else (top, bottom)
    y = (frame.width - right, frame.width - left) if frame.orientation in (7, 8) else (left, right)
    return np.stack([x[0], y[0], x[1], y[1]], axis=1)


INVERSE = {5: 5, 6: 8, 7: 7, 8: 6}


def turn_back(boxes: Boxes, frame: Frame) -> Boxes:
    """Boxes of the upright picture as boxes of the stored one."""
    if frame.orientation == UPRIGHT:
        return boxes
    width, height = frame.upright_size
    return turn_upright(boxes, Frame(width, height, INVERSE[frame.orientation]))
