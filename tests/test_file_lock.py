import fcntl
import os
from pathlib import Path
from typing import IO

import pytest

from makd.file_lock import held


def test_the_lock_says_who_has_it(tmp_path: Path) -> None:
    with held(tmp_path / "folder" / "lock") as file:
        file.seek(0)
        assert int(file.read()) > 0


def test_a_lock_that_was_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the file and having its lock, another process may have removed the folder."""
    lockf = fcntl.lockf
    opened: list[IO[str]] = []

    def remove_first(file: IO[str], operation: int, *part: int) -> None:
        if not opened:
            (tmp_path / "lock").unlink()
        opened.append(file)
        lockf(file, operation, *part)

    monkeypatch.setattr(fcntl, "lockf", remove_first)
    with held(tmp_path / "lock") as file:
        assert os.path.samestat(os.fstat(file.fileno()), (tmp_path / "lock").stat())
    assert len(opened) == 2
