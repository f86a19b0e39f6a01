import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from makd.errors import UserError
from makd.picture_cache import AnyArray, ArrayOf, decoded_once

ARRAYS = {"pixels": ArrayOf((3, 4), "uint8"), "ratios": ArrayOf((3,), "float32")}


class Decoder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pixels: AnyArray, ratios: AnyArray) -> None:
        self.calls += 1
        pixels[:] = np.arange(12).reshape(3, 4)
        ratios[:] = [0.5, 1, 2]


def cached_files(cache: Path) -> list[Path]:
    return sorted((cache / "pictures").glob("*/pixels.npy"))


def test_pictures_are_decoded_once() -> None:
    decode = Decoder()
    for _ in range(2):
        pixels, ratios = decoded_once(["k"], ARRAYS, decode)
        np.testing.assert_array_equal(pixels, np.arange(12).reshape(3, 4))
        np.testing.assert_array_equal(ratios, [0.5, 1, 2])
    assert decode.calls == 1
    assert isinstance(pixels, np.memmap)


def test_another_key_is_another_array() -> None:
    decode = Decoder()
    decoded_once(["k", 1], ARRAYS, decode)
    decoded_once(["k", 2], ARRAYS, decode)
    assert decode.calls == 2


def test_what_a_run_writes_stays_its_own() -> None:
    pixels, _ = decoded_once(["k"], ARRAYS, Decoder())
    pixels[:] = 99
    assert decoded_once(["k"], ARRAYS, Decoder())[0].max() == 11


@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 130), lambda file: file.write_bytes(b""), os.remove])
def test_damaged_files_are_made_anew(own_cache: Path, damage: Callable[[Path], None]) -> None:
    decode = Decoder()
    decoded_once(["k"], ARRAYS, decode)
    [file] = cached_files(own_cache)
    damage(file)
    assert decoded_once(["k"], ARRAYS, decode)[0].max() == 11
    assert decode.calls == 2


def test_a_failure_leaves_nothing_behind(own_cache: Path) -> None:
    def broken(pixels: AnyArray, ratios: AnyArray) -> None:
        pixels[0] = 1
        raise UserError("a picture is broken")

    with pytest.raises(UserError, match="broken"):
        decoded_once(["k"], ARRAYS, broken)
    assert [path.suffix for path in (own_cache / "pictures").iterdir()] == [".lock"]


def test_what_a_kill_left_is_swept_away(own_cache: Path) -> None:
    decoded_once(["k"], ARRAYS, Decoder())
    [file] = cached_files(own_cache)
    half = file.parent.with_name(f".{file.parent.name}.0123")
    file.parent.rename(half)
    decoded_once(["k"], ARRAYS, Decoder())
    assert not half.exists()


def test_a_full_disk_is_one_line_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"no room for .* MAKD_CACHE"):
        decoded_once(["k"], ARRAYS, Decoder())


def test_no_pictures_are_no_file() -> None:
    assert decoded_once(["k"], {"pixels": ArrayOf((0, 3, 4, 4), "uint8")}, Decoder())[0].shape == (0, 3, 4, 4)
