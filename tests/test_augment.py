"""Crops and flips against torchvision's, which the paper trains with."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomResizedCrop, functional

from makd.augment import Crops, crop_and_resize, normalise, random_boxes
from makd.seeding import random_stream


def noise(n: int = 2, px: int = 64) -> Tensor:
    return torch.randint(0, 256, (n, 3, px, px), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def crops(*boxes: tuple[float, float, float, float], px: int = 64, flip: bool = False) -> Crops:
    """`boxes` in pixels: left, top, right, bottom."""
    return Crops(torch.tensor(boxes) / px, torch.full((len(boxes),), flip))


@pytest.mark.parametrize("out_px", [16, 50, 64, 100])
@pytest.mark.parametrize("flip", [False, True])
def test_equals_torchvision_with_a_box_of_its_own_for_every_image(out_px: int, flip: bool) -> None:
    boxes = [(3, 5, 50, 61), (0, 0, 64, 64), (40, 0, 64, 20), (10, 30, 27, 64)]
    pictures = noise(len(boxes))
    got = crop_and_resize(pictures, crops(*boxes, flip=flip), out_px)
    for picture, image, (left, top, right, bottom) in zip(pictures.float(), got, boxes, strict=True):
        expected = functional.resized_crop(picture, top, left, bottom - top, right - left, [out_px, out_px])
        expected = functional.horizontal_flip(expected) if flip else expected
        torch.testing.assert_close(image, expected, atol=1e-2, rtol=0)  # of 255


def test_whole_picture_at_its_own_size_is_untouched() -> None:
    assert torch.equal(crop_and_resize(noise(), crops((0, 0, 64, 64), (0, 0, 64, 64)), 64), noise().float())


def test_nothing_outside_of_the_box_is_seen() -> None:
    box = (10, 20, 40, 50)
    other = torch.zeros_like(noise(1))
    other[..., 20:50, 10:40] = noise(1)[..., 20:50, 10:40]
    assert torch.equal(crop_and_resize(other, crops(box), 64), crop_and_resize(noise(1), crops(box), 64))


def test_slivers_thinner_than_a_pixel_give_finite_images() -> None:
    slivers = crops((0, 31.2, 64, 31.7), (63.6, 0, 64, 64), (12.9, 12.9, 13.2, 13.2))
    images = crop_and_resize(noise(3), slivers, 32)
    assert ((images >= 0) & (images <= 255.01)).all()


def test_a_squeezed_picture_is_cropped_in_its_true_shape() -> None:
    """A picture twice as wide as high, kept as a square: its left half, drawn square, is what it was."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    wide = torch.stack([x * 4, y * 8, (x - 16).hypot(y - 16) * 4]).clamp(max=255).byte()
    squeezed = functional.resize(wide, [32, 32])
    halves = crop_and_resize(squeezed[None], Crops(torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.tensor([False])), 32)
    torch.testing.assert_close(halves[0], wide[:, :, :32].float(), atol=12, rtol=0)


@pytest.mark.parametrize(("width", "height"), [(100, 100), (160, 90), (60, 110), (1000, 100), (100, 1000)])
@pytest.mark.parametrize("scale_min", [0.08, 0.6])
def test_boxes_follow_torchvisions_law(width: int, height: int, scale_min: float) -> None:
    n = 4000
    boxes = random_boxes(random_stream(0), np.full(n, width / height, dtype=np.float32), scale_min)
    assert ((boxes >= 0) & (boxes <= 1 + 1e-6)).all()
    ours = boxes * [width, height, width, height]

    torch.manual_seed(0)
    transform = RandomResizedCrop(1, scale=(scale_min, 1))
    picture = torch.empty(3, height, width)
    drawn = [transform.make_params([picture]) for _ in range(n)]
    theirs = np.array([[d["left"], d["top"], d["left"] + d["width"], d["top"] + d["height"]] for d in drawn])
    for quantile in (0.1, 0.5, 0.9):
        got, expected = (np.quantile(sizes(boxes), quantile, axis=0) for boxes in (ours, theirs))
        np.testing.assert_allclose(got, expected, rtol=0.06, atol=1.6)
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), rtol=0.05, atol=1.5)


def test_picture_too_narrow_for_any_crop_gives_its_largest_centred_one() -> None:
    boxes = random_boxes(random_stream(0), np.array([10.0, 0.1], dtype=np.float32), scale_min=1.0)
    part = 4 / 3 / 10  # of the longer side: the crop is 4/3 times as long as the shorter one
    expected = [[0.5 - part / 2, 0, 0.5 + part / 2, 1], [0, 0.5 - part / 2, 1, 0.5 + part / 2]]
    np.testing.assert_allclose(boxes, expected, atol=1e-6)


def sizes(boxes: np.ndarray) -> np.ndarray:
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return np.stack([width, height, np.sqrt(width * height)], axis=1)


def test_crops_repeat_for_seed_and_epoch_and_differ_between_them() -> None:
    def draw(seed: int, epoch: int) -> Crops:
        return Crops.draw(np.ones(50, dtype=np.float32), scale_min=0.3, seed=seed, epoch=epoch)

    assert torch.equal(draw(1, 2).boxes, draw(1, 2).boxes)
    assert torch.equal(draw(1, 2).flips, draw(1, 2).flips)
    assert not torch.equal(draw(1, 2).boxes, draw(1, 3).boxes)
    assert not torch.equal(draw(1, 2).boxes, draw(2, 2).boxes)
    assert 10 < draw(1, 2).flips.sum() < 40


def test_normalise_golden_values() -> None:
    images = torch.tensor([0.0, 255.0, 127.5]).expand(1, 3, 1, 3)
    got = normalise(images, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    # (0 - .5) / .5, (1 - .5) / .5, 0; then (0 - .25) / .25, (1 - .25) / .25, (.5 - .25) / .25; then unchanged
    torch.testing.assert_close(got[0, :, 0], torch.tensor([[-1.0, 1.0, 0.0], [-1.0, 3.0, 1.0], [0.0, 1.0, 0.5]]))
    assert math.isclose(got[0, 1, 0, 2], 1.0, rel_tol=1e-6)
