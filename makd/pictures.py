"""The one place where a picture file becomes RGB: teacher and student must see the same pixels."""

import hashlib
import struct
from io import BufferedIOBase, BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from makd.errors import UserError


class UnreadablePicture(UserError):
    """The file is there, and its content is no picture that can be decoded in full."""


def load_rgb(path: Path) -> Image.Image:
    """The picture as a viewer shows it: upright (EXIF), 8 bits, RGB, on white where it is transparent.

    Of an animation, the first frame. Colour profiles are not applied. Pillow's guard against decompression bombs holds.

    Raises:
        UnreadablePicture: broken, cut short, no picture at all, or with values of unknown range.
        UserError: the file cannot be opened; nothing is known about its content.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}") from None
    with file:
        return decode_rgb(file, path)


def load_rgb_of(path: Path, image_id: str) -> Image.Image:
    """`load_rgb` of the picture that the manifest means: its bytes, read once, must be those of `image_id`.

    Raises:
        UnreadablePicture: as `load_rgb`.
        UserError: the file cannot be read, or is another one now.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}; bring it back, or run `dvc repro`") from None
    if not has_id(content, image_id):
        raise UserError(f"{path} has changed since the manifest was written; run `dvc repro`")
    return decode_rgb(BytesIO(content), path)


def image_id(content: bytes) -> str:
    """Hash of a file's bytes, 32 hex digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def has_id(content: bytes, expected: str) -> bool:
    return image_id(content) == expected


def decode_rgb(file: BufferedIOBase, path: Path) -> Image.Image:
    """As `load_rgb`, of an open file; `path` is named where it is no picture."""
    try:
        image = Image.open(file)
        image.load()
        return to_rgb(upright(image))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every type on broken bytes
        raise UnreadablePicture(f"{path} cannot be read as a picture: {reason(error)}") from error


def reason(error: BaseException | None) -> str:
    """Pillow's own words name the file object instead of the trouble."""
    return "its format is unknown" if isinstance(error, UnidentifiedImageError) else str(error)


def upright(image: Image.Image) -> Image.Image:
    """Rotated and mirrored as EXIF says; a malformed EXIF block costs the rotation, not the picture."""
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, OverflowError, struct.error):
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def to_8_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits or of floats in [0, 1], scaled; Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image)
    white = 1.0 if image.mode == "F" else 65535.0  # "I" holds the 16 bits of a PGM file
    if not (values.min() >= 0 and values.max() <= white):
        raise ValueError(f"grey values from {values.min()} to {values.max()}, expected 0 to {white:g}")
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))
