import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from makd.pictures import image_id
from makd.thumbnails import GREY, data_uris, square


def id_of(path: str) -> str:
    return image_id(Path(path).read_bytes())


@pytest.fixture
def wide(tmp_path: Path) -> str:
    """A green middle with red sides."""
    picture = Image.new("RGB", (90, 30), (255, 0, 0))
    picture.paste((0, 255, 0), (30, 0, 60, 30))
    picture.save(tmp_path / "wide.png")
    return (tmp_path / "wide.png").as_posix()


def decoded(uri: str) -> Image.Image:
    kind, data = uri.split(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_a_thumbnail_is_the_middle_of_its_picture(wide: str) -> None:
    pixels = np.asarray(square(wide, id_of(wide), 15))
    assert pixels.shape == (15, 15, 3)
    assert pixels[7, 7].tolist() == [0, 255, 0]
    assert (pixels[..., 1] > 200).all()


def test_a_picture_that_is_gone_or_damaged_or_another_one_is_grey(tmp_path: Path, wide: str) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    for path, id_ in [
        ((tmp_path / "gone.png").as_posix(), id_of(wide)),
        (damaged.as_posix(), id_of(damaged.as_posix())),
        (wide, id_of(damaged.as_posix())),
    ]:
        assert square(path, id_, 8).getcolors() == [(64, GREY)]


def test_pictures_are_those_of_the_main_checkout(wide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert square("wide.png", id_of(wide), 8).getcolors() != [(64, GREY)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_data_uris_are_in_the_order_of_their_pictures(tmp_path: Path, workers: int) -> None:
    images = []
    for value in range(0, 250, 25):
        path = tmp_path / f"{value}.png"
        Image.new("RGB", (10, 10), (value, 0, 0)).save(path)
        images.append({"path": path.as_posix(), "image_id": id_of(path.as_posix())})
    found = [int(np.asarray(decoded(uri))[4, 4, 0]) for uri in data_uris(pd.DataFrame(images), 8, workers)]
    assert found == pytest.approx(list(range(0, 250, 25)), abs=6)
    assert decoded(data_uris(pd.DataFrame(images[:1]), 8, workers)[0]).size == (8, 8)
