"""Images with their labels and answers, as tensors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from makd.files import main_checkout
from makd.images import PictureFile, evaluation_pictures, training_pictures


@dataclass(frozen=True)
class Examples:
    """Pictures cropped as in testing. In the baseline arm there are no questions, Q is 0."""

    pixels: UInt8[Tensor, "images 3 px px"]
    labels: Int64[Tensor, " images"]
    p_yes: Float32[Tensor, "images aspects"]  # in [0, 1], NaN where there is no answer

    @classmethod
    def load(
        cls,
        rows: pd.DataFrame,
        p_yes: Float32[np.ndarray, "images aspects"],
        *,
        resize_px: int,
        image_px: int,
        workers: int,
    ) -> "Examples":
        """The images of these rows of the manifest."""
        pixels = evaluation_pictures(files_of(rows), resize_px=resize_px, image_px=image_px, workers=workers)
        return cls(torch.from_numpy(pixels), labels_of(rows), torch.from_numpy(p_yes))


@dataclass(frozen=True)
class TrainingExamples:
    """Whole pictures, squeezed to a square."""

    pixels: UInt8[Tensor, "images 3 px px"]
    aspect_ratios: Float32[np.ndarray, " images"]  # width / height of the original
    labels: Int64[Tensor, " images"]
    p_yes: Float32[Tensor, "images aspects"]  # targets in [0, 1], NaN where there is none

    @classmethod
    def load(
        cls,
        rows: pd.DataFrame,
        kept: npt.NDArray[np.bool_],
        p_yes: Float32[np.ndarray, "kept aspects"],
        *,
        stored_px: int,
        workers: int,
    ) -> "TrainingExamples":
        """The `kept` ones of the training rows of the manifest; all are decoded, once for every fraction and seed."""
        pixels, aspect_ratios = training_pictures(files_of(rows), stored_px=stored_px, workers=workers)
        if not kept.all():
            pixels, aspect_ratios = pixels[kept], aspect_ratios[kept]
        return cls(torch.from_numpy(pixels), aspect_ratios, labels_of(rows[kept]), torch.from_numpy(p_yes))


def files_of(rows: pd.DataFrame) -> list[PictureFile]:
    pairs = zip(rows["path"], rows["image_id"], strict=True)
    return [PictureFile(main_checkout() / path, image_id) for path, image_id in pairs]


def labels_of(rows: pd.DataFrame) -> Int64[Tensor, " images"]:
    return torch.tensor(rows["label"].to_numpy(dtype=np.int64))
