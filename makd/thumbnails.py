"""Small square pictures, for the contact sheet and the page."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
from PIL import Image, ImageOps

from makd.errors import UserError
from makd.files import main_checkout
from makd.pictures import load_rgb_of

WEBP_QUALITY = 75
GREY = (128, 128, 128)


def square(path: str, image_id: str, px: int) -> Image.Image:
    """A picture of the manifest, cut from the middle.

    Grey where it is gone or another one now, which is no reason to lose a report.
    """
    try:
        return ImageOps.fit(load_rgb_of(main_checkout() / path, image_id), (px, px))
    except UserError:
        return Image.new("RGB", (px, px), GREY)


def data_uris(images: pd.DataFrame, px: int, workers: int) -> list[str]:
    """`square` pictures of some rows of the manifest as WebP in data: URIs, decoded in `workers` threads."""
    with ThreadPoolExecutor(max(1, workers)) as threads:  # Pillow decodes outside of Python's lock
        return list(threads.map(lambda path, id_: data_uri(square(path, id_, px)), images["path"], images["image_id"]))


def data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
