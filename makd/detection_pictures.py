"""The pictures of a detection dataset, with their boxes upright, and the batches of a training run."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from makd.detection_set import DetectionSet
from makd.files import main_checkout
from makd.orientation import Frame, turn_upright
from makd.pictures import load_rgb_of
from makd.seeding import random_stream

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class BoxedPicture:
    """A picture, and what is to be found in it; crowd regions are left out."""

    path: Path
    image_id: str
    coco_id: int
    frame: Frame  # of the dataset's boxes
    boxes: Float32[np.ndarray, "boxes 4"]  # corners, in the upright picture and cut at its border
    labels: Int64[np.ndarray, " boxes"]  # from 1: torchvision's 0 is the background

    def pixels(self) -> UInt8[Tensor, "3 height width"]:
        """The upright picture.

        Raises:
            UserError: it cannot be read, or has changed.
        """
        picture = load_rgb_of(self.path, self.image_id)
        return torch.from_numpy(np.array(picture).transpose(2, 0, 1))

    def target(self) -> dict[str, Tensor]:
        return {"boxes": torch.from_numpy(self.boxes.copy()), "labels": torch.from_numpy(self.labels.copy())}


def boxed_pictures(found: DetectionSet) -> list[BoxedPicture]:
    """Those of one split, in their order."""
    boxes = found.boxes[~found.boxes["crowd"]]
    by_picture = {coco_id: rows for coco_id, rows in boxes.groupby("coco_id")}
    return [boxed(row, by_picture.get(row.coco_id, boxes.iloc[:0])) for row in found.pictures.itertuples()]


def boxed(picture: Any, boxes: pd.DataFrame) -> BoxedPicture:
    frame = Frame(picture.width, picture.height, picture.orientation)
    left, top, width, height = boxes[["left", "top", "width", "height"]].to_numpy(dtype=np.float64).T
    corners = np.stack([left, top, left + width, top + height], axis=1)
    upright = turn_upright(corners, frame).clip(0, frame.upright_size * 2)
    return BoxedPicture(
        main_checkout() / picture.path,
        picture.image_id,
        picture.coco_id,
        frame,
        upright.astype(np.float32),
        boxes["label"].to_numpy(dtype=np.int64) + 1,
    )


def mirrored(
    pixels: Float[Tensor, "3 height width"], target: dict[str, Tensor]
) -> tuple[Float[Tensor, "3 height width"], dict[str, Tensor]]:
    """Left and right exchanged."""
    left, top, right, bottom = target["boxes"].unbind(dim=1)
    width = pixels.shape[-1]
    boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    return pixels.flip(-1), target | {"boxes": boxes}


def batch_rows(n: int, size: int, seed: int, iteration: int) -> Int64[np.ndarray, " batch"]:
    """The pictures of an iteration, counted from 0: a function of the seed alone, so that a resumed run goes on.

    Each pass has an order of its own; what does not fill a batch at its end is left for the next pass.
    """
    size = min(size, n)
    a_pass, place = divmod(iteration, n // size)
    order: Int64[np.ndarray, " pictures"] = random_stream(seed, "order", a_pass).permutation(n)
    return order[place * size : (place + 1) * size]


def ahead(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`map` in `workers` threads, a few items ahead of the consumer; in this one with 0 workers."""
    if not workers:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def loaded(
    pictures: Sequence[BoxedPicture], rows: Int64[np.ndarray, " batch"], *, flip: float, seed: int, iteration: int
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Pixels in [0, 1] and targets of a batch, some mirrored."""
    images, targets = [], []
    flips = random_stream(seed, "flips", iteration).random(len(rows)) < flip
    for row, flipped in zip(rows, flips, strict=True):
        pixels, target = pictures[row].pixels().float() / 255, pictures[row].target()
        if flipped:
            pixels, target = mirrored(pixels, target)
        images.append(pixels)
        targets.append(target)
    return images, targets
