"""A picture as an exported student sees it: exactly what `makd.images.evaluation_pictures` makes of it.

That function decodes the files of a manifest into a cache that all runs share; here pictures come one by one. The tests
hold both against each other, byte for byte.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torchvision.transforms.v2 import functional

from makd.images import channels_first
from makd.pictures import to_rgb, upright
from makd.shipped_config import ShippedConfig


def student_pixels(picture: Image.Image, config: ShippedConfig) -> UInt8[np.ndarray, "3 px px"]:
    """The centre square, of side `image_px`, of a picture whose shorter side is resized to `resize_px`.

    Any picture of Pillow's is first turned upright (EXIF) and made RGB, on white where it is transparent.
    """
    picture = functional.resize(to_rgb(upright(picture)), [config.makd.resize_px])
    return channels_first(functional.center_crop(picture, [config.image_px, config.image_px]))
