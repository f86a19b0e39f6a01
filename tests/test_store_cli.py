"""makd answers and python -m makd.store, as they are typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from makd.answers import Answers
from makd.store import AnswerStore
from makd.store_cli import answers, size_of
from tests.lock_holder import holding

PROVENANCE = {"weights": "Org/Model-8B@0123456789abcdef0123", "prompt": "$question Yes or No?\n", "dtype": "bfloat16"}
ONE = np.ones((1, 1), np.float32)


@pytest.fixture
def store(own_cache: Path) -> AnswerStore:
    store = AnswerStore(own_cache / "answers", PROVENANCE)
    for image in "abc":
        store.add([image], ["p"], Answers(ONE, ONE))
    return store


@pytest.fixture
def other(own_cache: Path) -> AnswerStore:
    """A store with a damaged part that was written long ago."""
    store = AnswerStore(own_cache / "answers", {"weights": "0" * 64})
    store.add(["a"], ["p"], Answers(ONE, ONE))
    store.parts()[0].write_bytes(b"PAR1")
    for path in store.folder.iterdir():
        os.utime(path, (0, 0))
    return store


def run(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["store", *words])
    try:
        answers()
    except SystemExit as exit_:
        return int(str(exit_.code))
    return 0


def test_it_works_as_typed_and_says_errors_in_one_line(store: AnswerStore) -> None:
    command = [sys.executable, "-W", "error", "-m", "makd.store"]
    done = subprocess.run([*command, "compact"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{store.key}: 3 parts, now 1\n"
    failed = subprocess.run([*command, "compact", "nothing"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert re.fullmatch(r"error: .* has no store nothing; makd answers ls shows the keys\n", failed.stderr)


def test_ls_says_what_there_is(
    store: AnswerStore, other: AnswerStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ls", monkeypatch=monkeypatch) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    line = next(line for line in out.splitlines() if line.startswith(store.key))
    assert re.search(
        r" 3 +3 +1 +3 +\S+ kB  Org/Model-8B@0123456789ab  bfloat16  \d{4}-\d\d-\d\d \d\d:\d\d  .*Yes or No", line
    )
    assert f"{other.parts()[0]} is damaged" in err


def test_verify_fails_when_a_file_is_bad(
    store: AnswerStore,
    own_cache: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("verify", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "stores: 1, problems: none\n"
    other = request.getfixturevalue("other")
    assert run("verify", monkeypatch=monkeypatch) == 1
    assert str(other.parts()[0]) in capsys.readouterr().out


def test_compact_goes_on_after_a_damaged_store(
    store: AnswerStore, other: AnswerStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compact", monkeypatch=monkeypatch) == 1
    assert (len(store.parts()), len(other.parts())) == (1, 1)


def test_gc_only_says_what_it_would_remove(
    store: AnswerStore, other: AnswerStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--keep", store.key], ["--unused-for", "30"]):
        assert run("gc", *words, monkeypatch=monkeypatch) == 0
        out = capsys.readouterr().out
        assert f"would remove {other.folder}" in out
        assert str(store.folder) not in out
        assert "add --yes" in out
        assert len(other.parts()) == 1


@pytest.mark.parametrize("words", [["--keep", "KEY"], ["--unused-for", "30"], ["--unused-for", "0", "--keep", "KEY"]])
def test_gc_removes_what_is_not_kept_and_not_used(
    words: list[str], store: AnswerStore, other: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("gc", *(store.key if word == "KEY" else word for word in words), "--yes", monkeypatch=monkeypatch) == 0
    assert len(store.parts()) == 3
    assert not other.folder.exists()


def test_gc_leaves_alone_what_is_being_written(
    store: AnswerStore, other: AnswerStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with holding(store, "lock") as process:
        assert run("gc", "--unused-for", "0", "--yes", monkeypatch=monkeypatch) == 0
    assert f"left alone: {store.folder} is in use (process {process.pid})" in capsys.readouterr().out
    assert len(store.parts()) == 3
    assert not other.folder.exists()


def test_gc_alone_removes_no_store(store: AnswerStore, other: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("gc", "--yes", monkeypatch=monkeypatch) == 0
    assert (len(store.parts()), len(other.parts())) == (3, 1)


def test_gc_needs_a_sensible_number_of_days(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("-1", "inf", "nan", "ten"):
        assert run("gc", f"--unused-for={number}", "--yes", monkeypatch=monkeypatch) == 2


def test_sizes_are_short() -> None:
    assert [size_of(n) for n in (0, 999, 1234, 999_900, 7 * 10**12)] == ["0 B", "999 B", "1.23 kB", "1 MB", "7 TB"]
