"""Independent streams of random numbers from one seed."""

import hashlib

import numpy as np


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose. Random state is never stored: a resumed run derives it again."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def random_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    return np.random.default_rng(derived_seed(seed, *purpose))
