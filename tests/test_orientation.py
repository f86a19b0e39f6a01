"""Boxes follow the picture when EXIF turns it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from makd.orientation import SIDEWAYS, Frame, read_frame, turn_back, turn_upright
from makd.pictures import load_rgb


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_lies_where_the_upright_picture_shows_it(orientation: int, tmp_path: Path) -> None:
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[5:15, 60:90] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "picture.png"
    Image.fromarray(pixels).save(file, exif=exif.tobytes())
    frame = read_frame(file)
    upright = load_rgb(file)
    assert frame.upright_size == upright.size
    if orientation not in SIDEWAYS:
        assert frame == Frame(100, 40, 1), "which way the boxes lie cannot be told"
        return
    rows, columns = np.nonzero(np.asarray(upright)[:, :, 0])
    expected = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    stored = np.array([[60.0, 5.0, 90.0, 15.0]])
    np.testing.assert_array_equal(turn_upright(stored, frame), expected)
    np.testing.assert_array_equal(turn_back(turn_upright(stored, frame), frame), stored)


def test_a_picture_that_is_decoded_upright_is_turned_no_further(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "picture.tif"
    Image.new("RGB", (100, 40)).save(file, exif=exif)
    assert load_rgb(file).size == (40, 100)
    assert read_frame(file) == Frame(40, 100, 1), "Pillow says the size of a TIFF as it is shown"
