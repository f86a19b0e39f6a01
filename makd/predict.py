"""`makd predict`: an exported student says what pictures show, many or few, in flat memory."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from makd.errors import UserError
from makd.image_sources import image_files
from makd.pictures import load_rgb
from makd.preprocessing import student_pixels
from makd.progress import with_progress
from makd.shipped import Format, ShippedStudent, load_shipped
from makd.shipped_config import ShippedConfig

BATCH_BYTES = 2**24
MOST_IMAGES = 256
"""A batch holds so many images, or fewer if their pixels as float32 are more bytes."""


@dataclass(frozen=True)
class Prediction:
    """What is said of one file; of a bad one only why it was skipped, in `error`."""

    path: Path
    classes: tuple[str, ...]
    probabilities: Float32[np.ndarray, " classes"] | None  # in the order of `classes`, softmax over them
    p_yes: Float32[np.ndarray, " aspects"] | None  # Q is 0 without an aspect head
    error: str = ""

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` likeliest classes with their probabilities in [0, 1]; all, if there are fewer; none of a bad file."""
        if k < 1:
            raise UserError(f"top must be 1 or more, got {k}")
        if self.probabilities is None:
            return []
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.classes[label], float(self.probabilities[label])) for label in order]


def predict(
    model: ShippedStudent | Path | str,
    sources: Sequence[Path | str] | Path | str,
    *,
    format: Format | None = None,
    progress: bool = False,
) -> Iterator[Prediction]:
    """A prediction a file, in order, as they are made; bad files are among them and end nothing.

    Pictures are decoded in threads ahead of the student, at most two batches of them are held. Batch size and device
    are chosen by what there is.

    Args:
        model: a folder that `makd export` wrote, or a student from `load_shipped`.
        sources: pictures, folders and patterns (makd.image_sources).
        format: which file of the folder computes; None: the first there is.
        progress: show a bar on stderr.

    Raises:
        UserError: no such model or source; before the first picture is read.
    """
    student = model if isinstance(model, ShippedStudent) else load_shipped(model, format)
    files = image_files([sources] if isinstance(sources, Path | str) else sources)
    predictions = in_batches(student, files)
    return with_progress(predictions, len(files), title="predicting", unit="images", shown=progress)


def in_batches(student: ShippedStudent, files: Sequence[Path]) -> Iterator[Prediction]:
    size = batch_images(student.config.image_px)
    decoded = zip(files, decoded_ahead(files, student.config, ahead=2 * size), strict=True)
    while batch := list(islice(decoded, size)):
        good = [pixels for _, pixels in batch if not isinstance(pixels, UserError)]
        outputs = zip(*student.probabilities(torch.from_numpy(np.stack(good))), strict=True) if good else iter(())
        for path, pixels in batch:
            if isinstance(pixels, UserError):
                yield Prediction(path, student.classes, None, None, str(pixels))
            else:
                yield Prediction(path, student.classes, *next(outputs))


def batch_images(px: int) -> int:
    return int(np.clip(BATCH_BYTES // (3 * 4 * px * px), 1, MOST_IMAGES))


Decoded = UInt8[np.ndarray, "3 px px"] | UserError


def decoded_ahead(files: Iterable[Path], config: ShippedConfig, *, ahead: int) -> Iterator[Decoded]:
    """The pixels of each file, or why there are none; at most `ahead` files are decoded and not yet fetched."""

    def decode(path: Path) -> Decoded:
        try:
            return student_pixels(load_rgb(path), config, path)
        except UserError as error:
            return error

    waiting: deque[Future[Decoded]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            for path in files:
                waiting.append(threads.submit(decode, path))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # nobody wants the rest
                future.cancel()
