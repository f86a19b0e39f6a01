import os
from pathlib import Path

import pytest

from makd.errors import UserError
from makd.weights import local_folder, weights_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("a card")
    return tmp_path


def test_a_folder_is_known_by_its_content_not_by_its_place(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copy")
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert weights_id(str(folder), None) == weights_id(str(copy), None)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_another_content_is_another_model(folder: Path, name: str) -> None:
    before = weights_id(str(folder), None)
    (folder / name).write_bytes(b"other")
    assert weights_id(str(folder), None) != before


def test_the_model_card_changes_nothing(folder: Path) -> None:
    before = weights_id(str(folder), None)
    (folder / "README.md").write_text("another card")
    assert weights_id(str(folder), None) == before


def test_large_files_are_read_once(folder: Path) -> None:
    before = weights_id(str(folder), None)
    file = folder / "model.safetensors"
    times = os.stat(file).st_atime_ns, os.stat(file).st_mtime_ns
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=times)
    assert weights_id(str(folder), None) == before


def test_a_file_of_another_time_is_read_again(folder: Path) -> None:
    before = weights_id(str(folder), None)
    file = folder / "model.safetensors"
    times = os.stat(file).st_atime_ns, os.stat(file).st_mtime_ns
    file.write_bytes(b"WEIGHTS")  # the same size
    os.utime(file, ns=(times[0], times[1] + 1))
    assert weights_id(str(folder), None) != before


@pytest.mark.parametrize("junk", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_memo_is_made_anew(folder: Path, own_cache: Path, junk: bytes) -> None:
    before = weights_id(str(folder), None)
    memo = (own_cache / "weights.json").read_bytes()
    (own_cache / "weights.json").write_bytes(junk)
    assert weights_id(str(folder), None) == before
    assert (own_cache / "weights.json").read_bytes() == memo


def test_a_name_that_is_no_folder_belongs_to_the_hub(folder: Path) -> None:
    assert local_folder(str(folder)) == folder
    assert local_folder("OpenGVLab/InternVL3-8B-hf") is None


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config.json"):
        weights_id(str(tmp_path), None)


def test_a_file_is_no_model(folder: Path) -> None:
    with pytest.raises(UserError, match=r"config.json is a file; give the folder"):
        weights_id(str(folder / "config.json"), None)


def test_a_file_of_another_size_is_read_again(folder: Path) -> None:
    before = weights_id(str(folder), None)
    file = folder / "model.safetensors"
    times = os.stat(file).st_atime_ns, os.stat(file).st_mtime_ns
    file.write_bytes(b"more weights")
    os.utime(file, ns=times)
    assert weights_id(str(folder), None) != before


def test_a_file_in_another_folder_is_another_model(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "x.bin").write_bytes(b"x")
    before = weights_id(str(folder), None)
    (folder / "a").rename(folder / "b")
    assert weights_id(str(folder), None) != before


def test_a_model_that_is_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="'nobody/nothing' is no folder here, and no hub model"):
        weights_id("nobody/nothing", None)
