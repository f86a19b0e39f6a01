from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from makd.images import PictureFile, evaluation_pictures
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
