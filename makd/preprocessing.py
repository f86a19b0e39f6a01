"""A picture as an exported student sees it: exactly what `makd.images.evaluation_pictures` makes of it.

That function decodes the files of a manifest into a cache that all runs share; here pictures come one by one. The tests
hold both against each other, byte for byte.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torchvision.transforms.v2 import functional

from makd.images import channels_first
from makd.pictures import UnreadablePicture, to_rgb, upright
from makd.shipped_config import ShippedConfig

MOST_PIXELS = 50_000_000
"""Of what a picture is resized to, before its centre is cut out."""


def student_pixels(picture: Image.Image, config: ShippedConfig) -> UInt8[np.ndarray, "3 px px"]:
    """The centre square, of side `image_px`, of a picture whose shorter side is resized to `resize_px`.

    Any picture of Pillow's is first turned upright (EXIF) and made RGB, on white where it is transparent.

    Raises:
        UnreadablePicture: so thin that it would be resized to more than MOST_PIXELS: a file of a few hundred bytes can
            claim to be a line of millions.
    """
    resized = config.makd.resize_px**2 * max(picture.size) / max(1, min(picture.size))
    if resized > MOST_PIXELS:
        width, height = picture.size
        raise UnreadablePicture(f"the picture is {width} x {height}, too thin to be resized; crop it")
    picture = functional.resize(to_rgb(upright(picture)), [config.makd.resize_px])
    return channels_first(functional.center_crop(picture, [config.image_px, config.image_px]))
