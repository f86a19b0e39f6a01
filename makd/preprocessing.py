"""A picture as an exported student sees it: what `makd.images.evaluation_pictures` makes of the file of a manifest."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from makd.images import centre_pixels
from makd.pictures import UnreadablePicture, to_rgb, upright
from makd.shipped_config import ShippedConfig


def student_pixels(
    picture: Image.Image, config: ShippedConfig, name: object = "the picture"
) -> UInt8[np.ndarray, "3 px px"]:
    """Any picture of Pillow's, turned upright (EXIF), made RGB, on white where it is transparent, resized and cropped.

    Raises:
        UnreadablePicture: it has no pixel, is too thin to be resized, or has values of unknown range.
    """
    if 0 in picture.size:
        raise UnreadablePicture(f"{name} is {picture.width} x {picture.height}: there is nothing to see")
    try:
        rgb = to_rgb(upright(picture))
    except ValueError as error:
        raise UnreadablePicture(f"{name} cannot be read as a picture: {error}") from None
    return centre_pixels(rgb, resize_px=config.makd.resize_px, image_px=config.image_px, name=name)
