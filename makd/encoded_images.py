"""A picture as a server gets it: encoded once, so that its bytes are the same with every question."""

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from PIL.Image import Image, Resampling


@dataclass(frozen=True)
class DataUrls:
    """Makes a data URL of an upright RGB picture; in worker processes, while the server answers about others.

    Args:
        format: png keeps every pixel; jpeg is smaller on its way, and its losses are part of the answers' key.
        jpeg_quality: 1 to 100.
        max_px: longest side; a larger picture is made smaller. None: as it is.
    """

    format: Literal["png", "jpeg"]
    jpeg_quality: int
    max_px: int | None

    def inputs(self, image: Image) -> str:
        if self.max_px is not None and max(image.size) > self.max_px:
            image = image.copy()
            image.thumbnail((self.max_px, self.max_px), Resampling.LANCZOS)
        content = BytesIO()
        if self.format == "png":
            image.save(content, "PNG", compress_level=1)  # 6 takes several times as long and saves a tenth
        else:
            image.save(content, "JPEG", quality=self.jpeg_quality, subsampling=0)
        return f"data:image/{self.format};base64,{base64.b64encode(content.getvalue()).decode()}"
