"""Locks between processes. The system drops them with the process, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from makd.errors import UserError


@contextmanager
def held(path: Path, *, shared: bool = False, wait: bool = True, places: range | None = None) -> Iterator[IO[str]]:
    """Hold the lock `path`, alone or beside others that share it; yields its file.

    A POSIX record lock, as these belong to the process: a worker that outlives it does not keep them. They also lock
    a part of a file: who holds some `places` does so beside those who hold others. None are all places.

    Raises:
        UserError: another process holds it, and `wait` is False; or the file system knows no locks.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    length, start = (0, 0) if places is None else (len(places), places.start)  # 0: to the end, however long it gets
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            try:
                fcntl.lockf(file, kind | fcntl.LOCK_NB, length, start)
            except (BlockingIOError, PermissionError):  # which of them is up to the system
                file.seek(0)
                busy = f"{path.parent} is in use (process {file.read().strip() or 'unknown'})"
                if not wait:
                    raise UserError(f"{busy}; try again when that is done") from None
                print(f"waiting, for {busy}", flush=True)
                fcntl.lockf(file, kind, length, start)
            except OSError as error:
                raise UserError(
                    f"{path} cannot be locked ({error.strerror}): its file system knows no locks; mount it with them "
                    "(Lustre: -o flock, NFS: version 4), or let MAKD_CACHE name a folder elsewhere"
                ) from None
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
