import os
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from makd.pictures import image_id
from makd.scan import State, read_one, scan, state_of


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


def test_a_name_that_is_too_long_costs_itself() -> None:
    assert read_one("x" * 300 + ".jpg") == (None, "File name too long")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    found = scan([str(tmp_path / "pipe.png")], workers=0, progress=False)
    assert list(found["error"]) == ["is no file"]


def test_a_truncated_picture_is_found(tmp_path: Path) -> None:
    whole = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 80).convert("RGB").save(whole)
    whole.write_bytes(whole.read_bytes()[:-200])
    found = scan([str(whole)], workers=0, progress=False)
    assert found["image_id"].isna().all()
    assert found["error"][0].startswith("cannot be read as a picture: image file is truncated")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, as it happens."""
    names: list[str] = []

    def spy(path: str) -> tuple[str | None, str | None]:
        names.append(Path(path).name)
        return read_one(path)

    monkeypatch.setattr("makd.scan.read_one", spy)
    return names


def test_a_file_is_read_once(tmp_path: Path, read: list[str]) -> None:
    one, two = save(tmp_path / "a.png", "red"), save(tmp_path / "b.png", "blue")
    first = scan([one], workers=0, progress=False)
    scan([two], workers=0, progress=False)
    assert scan([one], workers=0, progress=False).equals(first)
    assert read == ["a.png", "b.png"]


def test_a_file_that_is_written_again_is_read_again(tmp_path: Path, own_cache: Path, read: list[str]) -> None:
    path = save(tmp_path / "a.png", "red")
    scan([path], workers=0, progress=False)
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1
    time.sleep(0.02)  # longer than a tick of the file system's clock
    Path(path).write_bytes(content)  # the same size and inode
    assert scan([path], workers=0, progress=False)["image_id"][0] == image_id(bytes(content))
    assert scan([path], workers=0, progress=False)["image_id"][0] == image_id(bytes(content))
    assert read == ["a.png"] * 2
    assert len(pd.read_parquet(own_cache / "images.parquet")) == 1


def test_a_time_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", "red")
    scan([path], workers=0, progress=False)
    times = os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns
    content = bytearray(Path(path).read_bytes())
    content[-1] ^= 1
    time.sleep(0.02)
    Path(path).write_bytes(content)  # the same size and inode
    os.utime(path, ns=times)
    assert scan([path], workers=0, progress=False)["image_id"][0] == image_id(Path(path).read_bytes())


def test_another_file_in_its_place_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alike in size and all times, as far as a coarse clock can tell."""
    one, two = save(tmp_path / "a.png", "red"), save(tmp_path / "b.png", "blue")
    monkeypatch.setattr("makd.scan.state_of", lambda file: state_of(file)._replace(size=1, mtime_ns=2, ctime_ns=3))
    before = scan([one], workers=0, progress=False)
    os.replace(two, one)
    assert scan([one], workers=0, progress=False)["image_id"][0] != before["image_id"][0]


def test_checkouts_that_share_a_cache_do_not_share_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    for colour in ("red", "blue"):
        (tmp_path / colour).mkdir()
        save(tmp_path / colour / "a.png", colour)
    monkeypatch.setattr("makd.scan.state_of", lambda file: State(str(file), 1, 2, 3, 4))  # only the place differs
    for colour in ("red", "blue"):
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / colour))
        found = scan(["a.png"], workers=0, progress=False)
        assert found["image_id"][0] == image_id((tmp_path / colour / "a.png").read_bytes())
        monkeypatch.chdir(tmp_path / colour)
        monkeypatch.setenv("DVC_ROOT", ".")
        assert scan(["a.png"], workers=0, progress=False).equals(found)
    assert read == ["a.png"] * 2


def test_a_path_that_is_named_twice_is_read_once_and_found_twice(tmp_path: Path, read: list[str]) -> None:
    one, two, gone = save(tmp_path / "a.png", "red"), save(tmp_path / "b.png", "blue"), str(tmp_path / "gone.png")
    for _ in range(3):
        found = scan([one, two, one, gone, gone], workers=0, progress=False)
        assert list(found["path"]) == [one, two, one, gone, gone]
        assert found["image_id"][0] == found["image_id"][2] == image_id(Path(one).read_bytes())
        assert found["image_id"].isna().tolist() == found["error"].notna().tolist() == [False] * 3 + [True] * 2
    assert read.count("a.png") == read.count("b.png") == 1


@pytest.mark.parametrize("junk", [b"", b"junk", b"table of another version"])
def test_a_damaged_memo_is_made_anew(tmp_path: Path, own_cache: Path, read: list[str], junk: bytes) -> None:
    path = save(tmp_path / "a.png", "red")
    first = scan([path], workers=0, progress=False)
    memo = own_cache / "images.parquet"
    memo.write_bytes(junk)
    if junk.startswith(b"table"):
        pd.DataFrame({"path": [path], "size": [1]}).to_parquet(memo)
    for _ in range(2):
        assert scan([path], workers=0, progress=False).equals(first)
    assert read == ["a.png"] * 2


def test_worker_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{k}.png", f"rgb({k}, 0, 0)") for k in range(130)]
    alone = scan(paths, workers=0, progress=False)
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "other"))
    assert scan(paths, workers=2, progress=False).equals(alone)
