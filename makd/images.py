"""The pictures that a student sees, as uint8, decoded once for all runs (makd/picture_cache.py).

Paper: RandomResizedCrop of the original picture in training, Resize and CenterCrop in testing. Here: testing is exactly
that. For training, a picture is kept whole, squeezed to a square of side `stored_px`, together with its aspect ratio:
every crop of the original can still be drawn in its true shape (makd/augment.py). What is lost is detail beyond
`stored_px`, which shows in small crops of large pictures; pictures that are such a square already lose nothing.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from torchvision.transforms.v2 import functional

from makd.picture_cache import AnyArray, ArrayOf, decoded_once
from makd.pictures import UnreadablePicture, load_rgb_of

MOST_PIXELS = 50_000_000
"""Of what a picture is resized to, before its centre is cut out."""


class PictureFile(NamedTuple):
    """A row of the manifest: the file, and the hash of the bytes that it must still have."""

    path: Path
    image_id: str


class TrainingPictures(NamedTuple):
    pixels: UInt8[np.ndarray, "images 3 px px"]
    aspect_ratios: Float32[np.ndarray, " images"]  # width / height of the original


def training_pictures(files: Sequence[PictureFile], *, stored_px: int, workers: int) -> TrainingPictures:
    """Whole pictures, each squeezed to a square of side `stored_px`.

    Raises:
        UserError: a picture cannot be read or has changed; it is named.
    """

    def decode(pixels: AnyArray, aspect_ratios: AnyArray) -> None:
        def store(row: int) -> None:
            picture = load_rgb_of(*files[row])
            aspect_ratios[row] = picture.width / picture.height
            pixels[row] = channels_first(picture.resize((stored_px, stored_px), Image.Resampling.BILINEAR))

        for_each(store, len(files), workers)

    arrays = {"pixels": pixels_of(len(files), stored_px), "aspect_ratios": ArrayOf((len(files),), "float32")}
    pixels, aspect_ratios = decoded_once(["squeezed", stored_px, *ids_of(files)], arrays, decode)
    return TrainingPictures(pixels, aspect_ratios)


def evaluation_pictures(
    files: Sequence[PictureFile], *, resize_px: int, image_px: int, workers: int
) -> UInt8[np.ndarray, "images 3 px px"]:
    """The centre square of side `image_px` of pictures whose shorter side is resized to `resize_px` (not below it).

    Raises:
        UserError: a picture cannot be read or has changed; it is named.
    """

    def decode(pixels: AnyArray) -> None:
        def store(row: int) -> None:
            picture, name = load_rgb_of(*files[row]), files[row].path
            pixels[row] = centre_pixels(picture, resize_px=resize_px, image_px=image_px, name=name)

        for_each(store, len(files), workers)

    arrays = {"pixels": pixels_of(len(files), image_px)}
    [pixels] = decoded_once(["centred", resize_px, image_px, *ids_of(files)], arrays, decode)
    return pixels


def centre_pixels(
    picture: Image.Image, *, resize_px: int, image_px: int, name: object = "the picture"
) -> UInt8[np.ndarray, "3 px px"]:
    """The centre square of side `image_px` of an RGB picture, called `name`, whose shorter side is made `resize_px`.

    Raises:
        UnreadablePicture: so thin that it would be resized to more than MOST_PIXELS: a file of a few hundred bytes can
            claim to be a line of millions.
    """
    width, height = picture.size
    if resize_px**2 * max(width, height) / min(width, height) > MOST_PIXELS:
        raise UnreadablePicture(f"{name} is {width} x {height}, too thin to be resized; crop it")
    return channels_first(functional.center_crop(functional.resize(picture, [resize_px]), [image_px]))


def pixels_of(n: int, px: int) -> ArrayOf:
    return ArrayOf((n, 3, px, px), "uint8")


def ids_of(files: Sequence[PictureFile]) -> list[str]:
    return [file.image_id for file in files]


def channels_first(picture: Image.Image) -> UInt8[np.ndarray, "3 height width"]:
    return np.asarray(picture).transpose(2, 0, 1)


def for_each(store: Callable[[int], None], n: int, workers: int) -> None:
    """In `workers` threads, or in this one. Pillow releases the GIL, so threads scale, and rows are stored in place."""
    if not workers:
        for row in range(n):
            store(row)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(store, range(n)):  # map raises what a thread raised, the first row first
            pass
