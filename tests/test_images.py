"""What the student sees: torchvision's test transform, and whole pictures for training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import CenterCrop, Compose, Resize
from torchvision.transforms.v2.functional import pil_to_tensor

from makd.errors import UserError
from makd.images import PictureFile, evaluation_pictures, training_pictures
from makd.pictures import UnreadablePicture, image_id

SIZES = [(64, 64), (90, 70), (41, 133), (300, 31), (20, 20)]  # width, height


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{i}.png" for i in range(len(SIZES))]
    for file, (width, height) in zip(files, SIZES, strict=True):
        coarse = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(file)
    return files


def files(paths: list[Path]) -> list[PictureFile]:
    """As they are now."""
    return [PictureFile(path, image_id(path.read_bytes())) for path in paths]


@pytest.mark.parametrize(("resize_px", "image_px"), [(64, 64), (37, 24)])
def test_evaluation_is_torchvisions_resize_and_centre_crop(paths: list[Path], resize_px: int, image_px: int) -> None:
    got = evaluation_pictures(files(paths), resize_px=resize_px, image_px=image_px, workers=0)
    transform = Compose([Resize(resize_px), CenterCrop(image_px)])
    expected = [pil_to_tensor(transform(Image.open(path))) for path in paths]
    assert torch.equal(torch.from_numpy(got), torch.stack(expected))


def test_a_line_of_pixels_is_named_and_not_resized(tmp_path: Path) -> None:
    line = tmp_path / "line.png"
    Image.new("RGB", (1, 60_000)).save(line)
    with pytest.raises(UserError, match=r"line\.png is 1 x 60000, too thin to be resized"):
        evaluation_pictures(files([line]), resize_px=64, image_px=64, workers=0)
    assert training_pictures(files([line]), stored_px=32, workers=0).pixels.shape == (1, 3, 32, 32)


def test_square_of_the_right_size_loses_nothing(paths: list[Path]) -> None:
    original = np.asarray(Image.open(paths[0])).transpose(2, 0, 1)
    np.testing.assert_array_equal(training_pictures(files(paths[:1]), stored_px=64, workers=0).pixels[0], original)
    kept = evaluation_pictures(files(paths[:1]), resize_px=64, image_px=64, workers=0)
    np.testing.assert_array_equal(kept[0], original)


def test_training_keeps_the_whole_picture_and_its_shape(paths: list[Path]) -> None:
    pictures = training_pictures(files(paths), stored_px=32, workers=0)
    assert pictures.pixels.shape == (len(SIZES), 3, 32, 32)
    np.testing.assert_allclose(pictures.aspect_ratios, [width / height for width, height in SIZES], rtol=1e-6)
    wide = Image.open(paths[3])  # a centre crop would lose nine tenths of it
    for left, column in ((0, 0), (wide.width - 9, -1)):
        edge = np.asarray(wide.crop((left, 0, left + 9, wide.height))).mean(axis=(0, 1))
        np.testing.assert_allclose(pictures.pixels[3, :, :, column].mean(axis=1), edge, atol=12)


Decode = Callable[[list[PictureFile], int], np.ndarray]
BOTH: list[Decode] = [
    lambda pictures, workers: training_pictures(pictures, stored_px=32, workers=workers).pixels,
    lambda pictures, workers: evaluation_pictures(pictures, resize_px=32, image_px=32, workers=workers),
]


@pytest.mark.parametrize("decode", BOTH)
def test_workers_change_nothing(paths: list[Path], decode: Decode) -> None:
    np.testing.assert_array_equal(decode(files(paths * 5), 3), decode(files(paths * 5), 0))


@pytest.mark.parametrize("decode", BOTH)
@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_picture_is_named(paths: list[Path], decode: Decode, workers: int) -> None:
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    with pytest.raises(UnreadablePicture, match=r"2\.png"):
        decode(files(paths), workers)


@pytest.mark.parametrize("decode", BOTH)
@pytest.mark.parametrize("workers", [0, 2])
def test_picture_that_is_not_that_of_the_manifest_is_named(paths: list[Path], decode: Decode, workers: int) -> None:
    meant = files(paths)
    paths[2].write_bytes(paths[1].read_bytes())
    with pytest.raises(UserError, match=r"2\.png has changed"):
        decode(meant, workers)


@pytest.mark.parametrize("decode", BOTH)
def test_no_picture_is_no_row(decode: Decode) -> None:
    assert decode([], 2).shape == (0, 3, 32, 32)
