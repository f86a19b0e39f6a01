"""Pictures of any size that no codec or processor finds easy."""

import numpy as np
from PIL import Image


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """RGB, `size` is (width, height)."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
