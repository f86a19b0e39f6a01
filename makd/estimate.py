"""What asking will cost, in words; makd/trial.py measures it on a few images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Of one image: tokens that the language model reads, and floating-point operations."""

    tokens: int
    flops: int


@dataclass(frozen=True)
class Estimate:
    """What an image takes, on average over a sample."""

    cost: Cost
    seconds: float  # in the model
    reading_seconds: float  # in one process that decodes and preprocesses

    def line(self, images: int, workers: int) -> str:
        """What `images` of this kind will take; reading and answering overlap where there are workers."""
        reading = self.reading_seconds / max(1, workers)
        each = max(self.seconds, reading) if workers else self.seconds + reading
        limit = "" if self.seconds >= reading or not workers else ", limited by reading: raise runtime.workers"
        return (
            f"{self.cost.tokens:,} tokens and {quantity(self.cost.flops)}FLOP an image, {1 / each:.3g} images/s{limit}:"
            f" {duration(images * each)} for {images:,} images (measured on a few)"
        )


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
