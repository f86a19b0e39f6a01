import errno
import os
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from makd.errors import UserError
from makd.files import atomic_write, cache_dir, main_checkout, parquet_writer, read_memo, write_json, write_parquet


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_in_pieces_is_whole_or_as_it_was(tmp_path: Path) -> None:
    table, path = pa.table({"x": [1, 2]}), tmp_path / "a.parquet"
    write_parquet(table, path)
    before = path.read_bytes()

    def write_half() -> None:
        with parquet_writer(table.schema, path, repeated=[]) as writer:
            writer.write_table(table)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with parquet_writer(table.schema, path, repeated=[]) as writer:
        writer.write_table(table)
        writer.write_table(table)
    assert pq.read_table(path)["x"].to_pylist() == [1, 2, 1, 2]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_json({"ö": [1, 2.5]}, tmp_path / f"{name}.json")
        write_parquet(pa.table({"x": [1, None]}), tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_cache_lives_in_the_main_checkout_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "elsewhere"))
    assert cache_dir() == tmp_path / "elsewhere"
    monkeypatch.delenv("MAKD_CACHE")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    assert (main_checkout(), cache_dir()) == (tmp_path / "main", tmp_path / "main/.cache")
    monkeypatch.delenv("DVC_ROOT")
    assert cache_dir() == Path(".cache")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_can_be_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / place))
    with pytest.raises(UserError, match=f"the cache .*{place} cannot be made .*MAKD_CACHE"):
        cache_dir()


def test_a_cache_that_cannot_be_written_is_named(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(UserError, match=f"{own_cache} cannot be written"):
        cache_dir()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}"])
def test_a_damaged_memo_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "memo.json").write_bytes(content)
    assert read_memo(tmp_path / "memo.json", list) == read_memo(tmp_path / "none.json", list) == []


def test_a_memo_comes_back(tmp_path: Path) -> None:
    write_json(["a"], tmp_path / "memo.json")
    assert read_memo(tmp_path / "memo.json", list) == ["a"]


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    sync, replace = os.fsync, os.replace

    def seen_sync(descriptor: int) -> None:
        log.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def seen_replace(old: Path, new: Path) -> None:
        log.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(os, "replace", seen_replace)
    write_json({}, tmp_path / "a.json")
    assert log == ["file", "name", "folder"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(pa.table({"x": [1]}), path)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(code, "no room")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(UserError, match=r"a.parquet cannot be written: .*; make room and run the same command again"):
        write_parquet(pa.table({"x": [2]}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_of_the_disk_are_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        (tmp_path / "none").read_text()
