"""Small square pictures, for the contact sheet and the page."""

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageOps

from makd.errors import UserError
from makd.files import main_checkout
from makd.pictures import load_rgb

WEBP_QUALITY = 75
GREY = (128, 128, 128)


def square(path: str, px: int) -> Image.Image:
    """A picture of the manifest, cut from the middle; grey where it is gone, which is no reason to lose a report."""
    try:
        return ImageOps.fit(load_rgb(main_checkout() / path), (px, px))
    except UserError:
        return Image.new("RGB", (px, px), GREY)


def data_uris(paths: Sequence[str], px: int, workers: int) -> list[str]:
    """`square` pictures as WebP in data: URIs, decoded in `workers` threads."""
    with ThreadPoolExecutor(max(1, workers)) as threads:  # Pillow decodes outside of Python's lock
        return list(threads.map(lambda path: data_uri(square(path, px)), paths))


def data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
