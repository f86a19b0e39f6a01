from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from makd.contact_sheet import MOST_CLASSES, PICTURES_A_CLASS, THUMBNAIL_PX, contact_sheet
from makd.pictures import image_id


def manifest(folder: Path, n_classes: int, n_images: int) -> pd.DataFrame:
    rows = []
    for label in range(n_classes):
        for k in range(n_images):
            path = folder / f"{label}-{k}.png"
            Image.new("RGB", (20, 10), (label * 9, k * 20, 0)).save(path)
            rows.append(
                (image_id(path.read_bytes()), path.as_posix(), "train" if k else "test", label, f"class {label:02d}")
            )
    return pd.DataFrame(rows, columns=["image_id", "path", "split", "label", "class_name"])


def test_a_row_a_class_shows_its_training_images(tmp_path: Path) -> None:
    axes = contact_sheet(manifest(tmp_path, 3, 4)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 00", "class 01", "class 02"]
    pixels = np.asarray(axes.images[0].get_array())
    assert pixels.shape == (3 * THUMBNAIL_PX, PICTURES_A_CLASS * THUMBNAIL_PX, 3)
    middle = THUMBNAIL_PX // 2
    assert pixels[middle + THUMBNAIL_PX, middle + 2 * THUMBNAIL_PX].tolist() == [
        9,
        60,
        0,
    ]  # class 1, third training image
    assert pixels[middle, -middle].tolist() == [255, 255, 255]  # there are but three


def test_of_many_classes_some_are_shown_and_the_title_says_so(tmp_path: Path) -> None:
    axes = contact_sheet(manifest(tmp_path, 28, 2)).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == len(set(labels)) == MOST_CLASSES
    assert (labels[0], labels[-1]) == ("class 00", "class 27")
    assert "24 of 28 classes" in axes.get_title(loc="left")


def test_a_picture_that_is_gone_is_grey(tmp_path: Path) -> None:
    rows = manifest(tmp_path, 2, 3)
    (tmp_path / "1-2.png").unlink()
    pixels = np.asarray(contact_sheet(rows).axes[0].images[0].get_array())
    assert pixels[THUMBNAIL_PX + 5, THUMBNAIL_PX + 5].tolist() == [128, 128, 128]
