import os
from pathlib import Path

import pytest
from PIL import Image

from makd.pictures import image_id
from makd.scan import scan


def save(path: Path, colour: str) -> str:
    Image.new("RGB", (8, 8), colour).save(path)
    return path.as_posix()


def test_ids_are_hashes_of_the_content(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png", "red"), save(tmp_path / "b.png", "red"), save(tmp_path / "c.png", "blue")]
    found = scan(paths, workers=0, progress=False)
    assert list(found["path"]) == paths
    assert found["image_id"][0] == found["image_id"][1] == image_id(Path(paths[0]).read_bytes())
    assert found["image_id"][0] != found["image_id"][2]


def test_an_unreadable_file_has_its_reason_and_no_id(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    found = scan([save(tmp_path / "a.png", "red"), str(broken), str(tmp_path / "gone.png")], workers=0, progress=False)
    assert list(found["image_id"].isna()) == [False, True, True]
    assert list(found["error"][1:]) == [
        "cannot be read as a picture: its format is unknown",
        "No such file or directory",
    ]


def test_a_truncated_picture_is_found(tmp_path: Path) -> None:
    whole = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 80).convert("RGB").save(whole)
    whole.write_bytes(whole.read_bytes()[:-200])
    found = scan([str(whole)], workers=0, progress=False)
    assert found["image_id"].isna().all()
    assert found["error"][0].startswith("cannot be read as a picture: image file is truncated")


def test_a_file_is_read_again_only_when_size_or_time_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", "red")
    first = scan([path], workers=0, progress=False)
    times = os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1  # same size, and the same time in a moment
    Path(path).write_bytes(content)
    os.utime(path, ns=times)
    assert scan([path], workers=0, progress=False).equals(first)
    os.utime(path, ns=(times[0], times[1] + 1))
    assert scan([path], workers=0, progress=False)["image_id"][0] == image_id(bytes(content))


def test_worker_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{k}.png", f"rgb({k}, 0, 0)") for k in range(130)]
    alone = scan(paths, workers=0, progress=False)
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "other"))
    assert scan(paths, workers=2, progress=False).equals(alone)


def test_files_that_were_scanned_once_stay_remembered(tmp_path: Path) -> None:
    one, two = save(tmp_path / "a.png", "red"), save(tmp_path / "b.png", "blue")
    scan([one], workers=0, progress=False)
    scan([two], workers=0, progress=False)
    times = os.stat(one).st_atime_ns, os.stat(one).st_mtime_ns
    Path(one).write_bytes(b"x" * os.stat(one).st_size)  # would be unreadable, were it read
    os.utime(one, ns=times)
    assert scan([one], workers=0, progress=False)["image_id"].notna().all()
