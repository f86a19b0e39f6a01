"""Pictures as they come: rotated, transparent, deep, printed, animated, broken."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from makd.errors import UserError
from makd.pictures import UnreadablePicture, image_id, load_rgb, load_rgb_of

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def left_red_right_blue(mode: str = "RGB") -> Image.Image:
    """Four pixels wide and two high."""
    image = Image.new("RGB", (4, 2), RED)
    image.paste(BLUE, (2, 0, 4, 2))
    return image.convert(mode)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def corners(path: Path) -> list[tuple[int, int, int]]:
    """Pixels at the top left, top right, bottom left and bottom right."""
    image = load_rgb(path)
    assert image.mode == "RGB"
    right, bottom = image.width - 1, image.height - 1
    return [image.getpixel(xy) for xy in ((0, 0), (right, 0), (0, bottom), (right, bottom))]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, BLUE, RED, BLUE]),
        (2, [BLUE, RED, BLUE, RED]),
        (3, [BLUE, RED, BLUE, RED]),
        (6, [RED, RED, BLUE, BLUE]),
        (8, [BLUE, BLUE, RED, RED]),
    ],
)
def test_picture_is_turned_upright_as_exif_says(
    tmp_path: Path, orientation: int, expected: list[tuple[int, int, int]]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(saved(left_red_right_blue(), tmp_path / "a.png", exif=exif)) == expected


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("block", [b"Exif\0\0MM", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense" * 9])
def test_malformed_exif_costs_the_rotation_not_the_picture(tmp_path: Path, block: bytes) -> None:
    for name in ("a.png", "a.webp", "a.jpg"):
        assert load_rgb(saved(left_red_right_blue(), tmp_path / name, exif=block)).size == (4, 2)


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    image = left_red_right_blue("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((3, 0), (*GREEN, 51))  # 20 % green on white
    assert corners(saved(image, tmp_path / "rgba.png")) == [WHITE, (204, 255, 204), RED, BLUE]


def test_transparency_of_a_palette_and_of_one_colour_is_white(tmp_path: Path) -> None:
    palette = left_red_right_blue().quantize(2)
    red = palette.getpixel((0, 0))
    assert corners(saved(palette, tmp_path / "p.gif")) == [RED, BLUE, RED, BLUE]
    assert corners(saved(palette, tmp_path / "t.gif", transparency=red)) == [WHITE, BLUE, WHITE, BLUE]
    assert corners(saved(palette, tmp_path / "t.png", transparency=red)) == [WHITE, BLUE, WHITE, BLUE]
    assert corners(saved(left_red_right_blue(), tmp_path / "c.png", transparency=RED)) == [WHITE, BLUE, WHITE, BLUE]


def test_grey_with_alpha_is_white_where_transparent(tmp_path: Path) -> None:
    image = Image.new("LA", (2, 1), (10, 255))
    image.putpixel((1, 0), (10, 0))
    assert corners(saved(image, tmp_path / "la.png")) == [(10, 10, 10), WHITE] * 2


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.jp2"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    image = Image.fromarray(np.array([[0, 256, 32896, 65535]] * 4, dtype=np.uint16))
    grey = [load_rgb(saved(image, tmp_path / name)).getpixel((x, 0))[0] for x in range(4)]
    assert grey == [0, 1, 128, 255]


def test_floats_between_0_and_1_are_scaled_and_others_refused(tmp_path: Path) -> None:
    unit = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert [load_rgb(saved(unit, tmp_path / "a.tif")).getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]
    for odd in (-7.0, 300.0, np.nan):
        beyond = Image.fromarray(np.array([[0.0, odd]], dtype=np.float32))
        with pytest.raises(UnreadablePicture, match=r"expected 0 to 1"):
            load_rgb(saved(beyond, tmp_path / "b.tif"))


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "LAB"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode in ("CMYK", "YCbCr") else "a.tif"
    white = load_rgb(saved(Image.new("RGB", (8, 8), WHITE).convert(mode), tmp_path / name))
    black = load_rgb(saved(Image.new("RGB", (8, 8), 0).convert(mode), tmp_path / name))
    assert white.mode == black.mode == "RGB"
    assert min(white.getpixel((4, 4))) > 250
    assert max(black.getpixel((4, 4))) < 5


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_first_frame_of_an_animation(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(frames[0], tmp_path / name, save_all=True, append_images=frames[1:], **options)
    assert Image.open(path).n_frames == 3
    assert corners(path) == [RED] * 4


def broken_files() -> dict[str, bytes]:
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    return {
        "empty.jpg": b"",
        "page.jpg": b"<!doctype html><title>404</title>",
        "cut.png": whole.getvalue()[:1500],
        "flipped.png": whole.getvalue()[:600] + b"\xff" * 600 + whole.getvalue()[1200:],
    }


@pytest.mark.parametrize("name", broken_files())
def test_broken_file_is_unreadable_and_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(broken_files()[name])
    with pytest.raises(UnreadablePicture, match=name):
        load_rgb(tmp_path / name)


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Image.new("1", (400, 400)), tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400 * 400 // 2 - 1)
    with pytest.raises(UnreadablePicture, match="bomb"):
        load_rgb(path)


def test_missing_file_is_not_taken_for_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png cannot be opened") as caught:
        load_rgb(tmp_path / "gone.png")
    assert not isinstance(caught.value, UnreadablePicture)


def test_the_picture_of_an_id_is_the_same_as_that_of_its_file(tmp_path: Path) -> None:
    path = saved(left_red_right_blue(), tmp_path / "a.jpg", exif=Image.Exif())
    assert load_rgb_of(path, image_id(path.read_bytes())).tobytes() == load_rgb(path).tobytes()


def test_another_picture_in_the_place_of_the_one_that_is_meant_is_refused(tmp_path: Path) -> None:
    path = saved(left_red_right_blue(), tmp_path / "a.png")
    meant = image_id(path.read_bytes())
    saved(Image.new("RGB", (4, 2)), path)
    with pytest.raises(UserError, match=r"a\.png has changed since the manifest was written; run `dvc repro`"):
        load_rgb_of(path, meant)


def test_what_is_no_picture_and_what_is_gone_are_told_apart_by_id_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UnreadablePicture, match=r"a\.png cannot be read as a picture"):
        load_rgb_of(tmp_path / "a.png", image_id(b"no picture"))
    with pytest.raises(UserError, match=r"gone\.png cannot be opened"):
        load_rgb_of(tmp_path / "gone.png", "any")
