from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from makd.images import PictureFile, evaluation_pictures
from makd.pictures import UnreadablePicture
from makd.preprocessing import student_pixels
from makd.shipped_config import MakdPart, ShippedConfig, read_config
from tests.trained_project import TrainedProject


@pytest.mark.parametrize(("resize_px", "image_px"), [(37, 32), (32, 32), (64, 17), (100, 99)])
def test_pixels_are_those_of_the_evaluation_byte_for_byte(
    resize_px: int, image_px: int, shipped: Path, trained: TrainedProject
) -> None:
    """On pictures that are wide, tall, transparent, grey of 16 bits, rotated by EXIF, and of a palette."""
    base = read_config(shipped)
    cfg = base.pretrained_cfg.model_copy(update={"input_size": (3, image_px, image_px)})
    config: ShippedConfig = base.model_copy(update={"pretrained_cfg": cfg, "makd": MakdPart(resize_px=resize_px)})
    rows = trained.predictions()
    files = [PictureFile(Path(path), id_) for path, id_ in zip(rows["path"], rows["image_id"], strict=True)]
    expected = evaluation_pictures(files, resize_px=resize_px, image_px=image_px, workers=0)
    for file, pixels in zip(files, expected, strict=True):
        assert np.array_equal(student_pixels(Image.open(file.path), config), pixels), file.path


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.new("RGB", (0, 5)), "bird is 0 x 5: there is nothing to see"),
        (Image.new("RGB", (60_000, 1)), "bird is 60000 x 1, too thin to be resized"),
        (
            Image.new("F", (9, 9), 3.0),
            r"bird cannot be read as a picture: grey values from 3\.0 to 3\.0, expected 0 to 1",
        ),
    ],
)
def test_a_picture_that_cannot_be_one_is_named(shipped: Path, picture: Image.Image, message: str) -> None:
    with pytest.raises(UnreadablePicture, match=message):
        student_pixels(picture, read_config(shipped), "bird")
