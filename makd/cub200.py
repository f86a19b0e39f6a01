"""CUB-200-2011 as its archive lies on the disk; torchvision has no class for it."""

from pathlib import Path

import pandas as pd

from makd.datasets import annotated
from makd.errors import UserError
from makd.files import main_checkout

FOLDER = "CUB_200_2011"
SPLIT_OF = {"1": "train", "0": "test"}


def cub200(root: Path) -> pd.DataFrame:
    """200 birds, 5994 / 5794 images; there is no val split.

    Returns:
        COLUMNS. "001.Black_footed_Albatross" is the Black footed Albatross: hyphens are lost in the archive already.

    Raises:
        UserError: the archive is not there or not whole.
    """
    source = f"unpack CUB_200_2011.tgz of https://data.caltech.edu/records/65de6-vp158 into {root}"
    folder = main_checkout() / root / FOLDER
    try:
        images, class_ids, in_train, classes = (
            numbered(folder / f"{name}.txt") for name in ("images", "image_class_labels", "train_test_split", "classes")
        )
        rows = [
            (str(folder / "images" / image), readable(classes[class_ids[key]]), SPLIT_OF[in_train[key]])
            for key, image in images.items()
        ]
    except OSError as error:
        raise UserError(f"prepare_dataset.root: {error.filename}: {error.strerror}; {source}") from None
    except (ValueError, KeyError) as error:
        raise UserError(
            f"prepare_dataset.root: the lists in {folder} do not fit together ({error}); {source}"
        ) from None
    return annotated(rows, root, source)


def numbered(file: Path) -> dict[str, str]:
    """Lines of a number and a text."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return {number: text for number, text in (line.split(maxsplit=1) for line in lines)}


def readable(name: str) -> str:
    return name.split(".", 1)[-1].replace("_", " ")
