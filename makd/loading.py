"""Pictures made ready for the model, in worker processes; a bad one costs itself."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
from PIL import Image
from torch.utils.data import Dataset

from makd.conversation import Reader
from makd.errors import UserError
from makd.files import main_checkout
from makd.pictures import UnreadablePicture, load_rgb_of


class Loaded(NamedTuple):
    """An image for the model, or why there is none."""

    image_id: str
    picture: Image.Image | None = None
    inputs: Any = None
    unreadable: str | None = None  # costs itself
    refused: bool = False  # by the processor, and not for want of a picture
    fatal: str | None = None  # says nothing about the image: stops the run


def load(path: str, image_id: str, reader: Reader) -> Loaded:
    """Read and preprocess one picture. No error leaves a worker process as an exception: it would lose its words."""
    try:
        picture = load_rgb_of(main_checkout() / path, image_id)
    except UnreadablePicture as error:
        return Loaded(image_id, unreadable=str(error))
    except UserError as error:  # not there, or no longer the picture of the manifest
        return Loaded(image_id, fatal=str(error))
    try:
        return Loaded(image_id, picture, reader.inputs(picture))
    except Exception as error:  # a processor refuses odd pictures with whatever it likes
        reason = f"{type(error).__name__}: {error}"
        return Loaded(image_id, unreadable=f"{path} is refused by the model's processor: {reason}", refused=True)


def good_ones(images: pd.Series, reader: Reader, patience: int | None = None) -> Iterator[Loaded]:
    """Those that can be read; the others are named when their turn comes.

    Raises:
        UserError: a picture is gone or has changed, or the first `patience` are all refused by the processor.
    """
    refused, good = 0, 0
    for image_id, path in images.items():
        one = load(path, image_id, reader)
        if one.fatal is not None:
            raise UserError(one.fatal)
        if one.picture is not None:
            good += 1
            yield one
        refused += one.refused
        if refused == patience and not good:
            raise UserError(
                f"the first {refused} pictures are all refused: {one.unreadable}; "
                "change extract_logits.processor or the chat template of the model"
            )


class Pictures(Dataset[Loaded]):
    """Reads and preprocesses pictures in worker processes; a bad one costs itself."""

    def __init__(self, images: pd.Series, reader: Reader) -> None:
        self.image_ids, self.paths = list(images.index), list(images)
        self.reader = reader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Loaded:
        return load(self.paths[index], self.image_ids[index], self.reader)._replace(picture=None)
