import os
from pathlib import Path

import pytest

from makd.errors import UserError
from makd.image_sources import image_files


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "more/deep/c.webp", "more/b.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path("photos")


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["photos"], ["a.JPG", "b.png", "more/b.png", "more/deep/c.webp"]),
        (["photos/b.png", "photos"], ["b.png", "a.JPG", "more/b.png", "more/deep/c.webp"]),
        (["photos/notes.txt"], ["notes.txt"]),
        (["photos/*"], ["a.JPG", "b.png"]),
        (["photos/**/b.png"], ["b.png", "more/b.png"]),
    ],
)
def test_pictures_folders_and_patterns(photos: Path, sources: list[str], expected: list[str]) -> None:
    assert image_files(sources) == [photos / name for name in expected]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos: Path) -> None:
    (photos / "x[1].png").touch()
    assert image_files(["photos/x[1].png"]) == [photos / "x[1].png"]


def test_a_pipe_is_read_where_it_is_named_and_not_waited_for_in_a_folder(photos: Path) -> None:
    before = image_files([photos])
    os.mkfifo(photos / "pipe.png")
    assert image_files([photos]) == before
    assert image_files([photos / "pipe.png"]) == [photos / "pipe.png"]


@pytest.mark.usefixtures("photos")
def test_an_empty_source_is_not_this_folder() -> None:
    with pytest.raises(UserError, match="a source is empty, such as an unset variable of the shell"):
        image_files([""])


def test_a_name_that_is_too_long_is_a_user_error() -> None:
    with pytest.raises(UserError, match="cannot be opened: File name too long"):
        image_files(["x" * 300])


def test_nothing_there_is_a_user_error(photos: Path) -> None:
    with pytest.raises(UserError, match=r"photos/z\.png is not there; give pictures, folders or patterns"):
        image_files(["photos/z.png"])
    with pytest.raises(UserError, match=r"no image in photos/\*\.bmp"):
        image_files(["photos/*.bmp"])
