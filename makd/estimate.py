"""What asking will cost, from a few images that are read and answered for the clock alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SAMPLE_IMAGES = 4


@dataclass(frozen=True)
class Cost:
    """Of one image: tokens that the language model reads, and floating-point operations."""

    tokens: int
    flops: int


@dataclass(frozen=True)
class Estimate:
    """Means over a sample of images."""

    cost: Cost
    seconds: float  # an image, in the model
    reading_seconds: float  # an image, in one process that decodes and preprocesses

    def line(self, images: int, workers: int) -> str:
        """What `images` of this kind will take; reading and answering overlap where there are workers."""
        reading = self.reading_seconds / max(1, workers)
        each = max(self.seconds, reading) if workers else self.seconds + reading
        limit = "" if self.seconds >= reading or not workers else ", limited by reading: raise runtime.workers"
        return (
            f"{self.cost.tokens:,} tokens and {quantity(self.cost.flops)}FLOP an image, {1 / each:.3g} images/s{limit}:"
            f" {duration(images * each)} for {images:,} images (measured on a few)"
        )


def estimate(
    score: Callable[[Sequence[Any]], Any], cost: Callable[[Any], Cost], read: Sequence[Callable[[], Any]]
) -> Estimate:
    """Read each image of the sample, answer all of them, and count.

    Args:
        score: answers a batch of what `read` gives.
        cost: of one of them.
        read: reads and preprocesses an image each; at least one.
    """
    start = time.perf_counter()
    batch = [each() for each in read]
    reading = (time.perf_counter() - start) / len(batch)
    first = cost(batch[0])  # also warms up
    start = time.perf_counter()
    score(batch)
    return Estimate(first, (time.perf_counter() - start) / len(batch), reading)


def quantity(number: float | int) -> str:
    """1.23 T, 45.6 G: three digits and a prefix."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g} "


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
