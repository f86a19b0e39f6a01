"""Locks between processes. The system drops them with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from makd.errors import UserError


@contextmanager
def held(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[IO[str]]:
    """Hold the lock `path`, alone or beside others that share it; yields its file.

    A POSIX record lock, as these belong to the process: a worker that outlives it does not keep them.

    Raises:
        UserError: another process holds it, and `wait` is False.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            try:
                fcntl.lockf(file, kind | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):  # which of them is up to the system
                file.seek(0)
                busy = f"{path.parent} is in use (process {file.read().strip() or 'unknown'})"
                if not wait:
                    raise UserError(f"{busy}; try again when that is done") from None
                print(f"waiting, for {busy}", flush=True)
                fcntl.lockf(file, kind)
            if is_still_there(file, path):  # else its folder went while we waited
                if not shared:
                    file.truncate(0)
                    file.write(str(os.getpid()))
                    file.flush()
                yield file
                return


def is_still_there(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
