"""Random crops and flips of a whole batch at once, on the device that trains.

The random numbers come from (seed, epoch) alone and are drawn on the CPU: a resumed run repeats what an undisturbed one
does, and a GPU sees the same crops as a CPU.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from makd.seeding import random_stream

SHAPES = (3 / 4, 4 / 3)  # least and greatest width / height of a crop
TRIES = 10


class Crops(NamedTuple):
    """A crop and a flip for every image, in the order of the images."""

    boxes: Float[Tensor, "images 4"]  # left, top, right, bottom, as parts of the width and the height
    flips: Bool[Tensor, " images"]

    @classmethod
    def draw(cls, aspect_ratios: Float32[np.ndarray, " images"], *, scale_min: float, seed: int, epoch: int) -> "Crops":
        rng = random_stream(seed, "crops", epoch)
        boxes = random_boxes(rng, aspect_ratios, scale_min)
        return cls(torch.from_numpy(boxes), torch.from_numpy(rng.random(len(boxes)) < 0.5))

    def of(self, rows: Int64[np.ndarray, " batch"]) -> "Crops":
        return Crops(self.boxes[rows], self.flips[rows])


def random_boxes(
    rng: np.random.Generator, aspect_ratios: Float32[np.ndarray, " images"], scale_min: float
) -> Float32[np.ndarray, "images 4"]:
    """A box an image, by the law of torchvision's RandomResizedCrop, without its rounding to whole pixels.

    The area is uniform in [scale_min, 1] of the picture, the logarithm of the shape uniform in SHAPES; of TRIES draws
    the first that fits inside the picture counts, else the largest centred box of an allowed shape.
    """
    n = len(aspect_ratios)
    pictures = aspect_ratios[:, None].astype(np.float64)
    area = rng.uniform(scale_min, 1, (n, TRIES))
    shape = np.exp(rng.uniform(np.log(SHAPES[0]), np.log(SHAPES[1]), (n, TRIES)))
    widths, heights = np.sqrt(area * shape / pictures), np.sqrt(area * pictures / shape)
    fits: npt.NDArray[np.bool_] = np.maximum(widths, heights) <= 1
    first = (np.arange(n), fits.argmax(axis=1))

    central = np.clip(aspect_ratios, *SHAPES)  # shape of the fallback
    found = fits[first]
    width = np.where(found, widths[first], np.minimum(1, central / aspect_ratios))
    height = np.where(found, heights[first], np.minimum(1, aspect_ratios / central))
    free = np.stack([1 - width, 1 - height], axis=1)
    corner = free * np.where(found[:, None], rng.random((n, 2)), 0.5)
    return np.concatenate([corner, corner + np.stack([width, height], axis=1)], axis=1).astype(np.float32)


def crop_and_resize(
    pixels: UInt8[Tensor, "batch 3 px px"], crops: Crops, out_px: int
) -> Float[Tensor, "batch 3 out_px out_px"]:
    """The crops as squares of side `out_px`, values 0 to 255; bilinear with antialiasing, as torchvision resizes.

    Resizing is linear in the rows and in the columns, so it is a matrix on each side, a pair for every image.
    """
    batch, _, px, _ = pixels.shape
    left, top, right, bottom = (crops.boxes * px).unbind(dim=1)
    rows, columns = resize_matrix(top, bottom, px, out_px), resize_matrix(left, right, px, out_px)
    columns = torch.where(crops.flips[:, None, None], columns.flip(1), columns)
    lines = pixels.transpose(1, 2).contiguous().float()  # batch, y, channel, x: one product does all channels
    lines = torch.bmm(lines.view(batch, px * 3, px), columns.mT)
    lines = torch.bmm(rows, lines.view(batch, px, 3 * out_px))
    return lines.view(batch, out_px, 3, out_px).transpose(1, 2)


def resize_matrix(
    start: Float[Tensor, " batch"], stop: Float[Tensor, " batch"], px: int, out_px: int
) -> Float[Tensor, "batch out_px px"]:
    """The weights of `px` pixels in each of `out_px` pixels that cover [start, stop) of them.

    A triangle around the output pixel's centre, as wide as the pixels of the coarser side; pixels outside of the box do
    not count, so that a crop sees nothing around it.
    """
    scale = ((stop - start) / out_px)[:, None, None]
    centre = start[:, None, None] + (torch.arange(out_px, device=start.device)[:, None] + 0.5) * scale
    pixel = torch.arange(px, device=start.device)
    weights = (1 - (pixel + 0.5 - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    inside = (pixel >= start[:, None, None].floor()) & (pixel < stop[:, None, None].ceil())
    weights = weights * inside
    return weights / weights.sum(dim=-1, keepdim=True)


def normalise(
    images: Float[Tensor, "batch 3 height width"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "batch 3 height width"]:
    """Values of 0 to 255 as multiples of the channel's standard deviation from its mean, both for values in [0, 1]."""
    scale = images.new_tensor(std)[:, None, None] * 255
    return images / scale - images.new_tensor(mean)[:, None, None] * 255 / scale
