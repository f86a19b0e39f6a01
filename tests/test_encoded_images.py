import base64
from io import BytesIO

import numpy as np
from PIL import Image

from makd.encoded_images import DataUrls
from tests.server_asking import pictures


def decoded(url: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))


def test_png_keeps_every_pixel_and_gives_the_same_bytes_each_time() -> None:
    [picture] = pictures(1)
    reader = DataUrls("png", 95, None)
    url = reader.inputs(picture)
    assert url.startswith("data:image/png;base64,")
    assert url == reader.inputs(picture.copy())
    np.testing.assert_array_equal(np.asarray(decoded(url)), np.asarray(picture))


def test_jpeg_is_smaller_the_lower_its_quality() -> None:
    picture = pictures(1)[0].resize((64, 64))
    high, low = (DataUrls("jpeg", quality, None).inputs(picture) for quality in (95, 30))
    assert high.startswith("data:image/jpeg;base64,")
    assert len(low) < len(high)


def test_jpeg_keeps_the_colours_of_single_pixels() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 255, 255
    back = np.asarray(decoded(DataUrls("jpeg", 95, None).inputs(Image.fromarray(stripes)))).astype(int)
    assert np.abs(back - stripes).mean() < 10


def test_a_large_picture_is_made_smaller_and_a_small_one_is_left_alone() -> None:
    reader = DataUrls("png", 95, 50)
    assert decoded(reader.inputs(Image.new("RGB", (100, 40)))).size == (50, 20)
    small = Image.new("RGB", (30, 40))
    assert decoded(reader.inputs(small)).size == (30, 40)
