"""Files that are whole or absent, and where the expensive ones live."""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from makd.errors import UserError

T = TypeVar("T")


def main_checkout() -> Path:
    """The checkout that the user works in, in `dvc exp run --temp` and `--queue` copies too: DVC sets DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT", "."))


def cache_dir() -> Path:
    """Where work in progress lives, outside DVC's outs: $MAKD_CACHE, else .cache/ of the main checkout.

    Raises:
        UserError: there can be no folder, or nothing can be written into it.
    """
    folder = Path(os.environ.get("MAKD_CACHE") or main_checkout() / ".cache")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the cache {folder} cannot be made ({error.strerror}); let MAKD_CACHE name a folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"the cache {folder} cannot be written; let MAKD_CACHE name another folder")
    return folder


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` at the end, so that `path` is never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def exclusive(lock: Path, waiting_for: str) -> Iterator[None]:
    """Hold the file `lock`; a second process says what it is `waiting_for` and waits.

    An own lock: DVC's goes with a killed dvc while the stage lives on. The system drops this one with the process.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            print(f"waiting for {waiting_for} (process {file.read().strip()})", flush=True)
            fcntl.lockf(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def write_parquet(table: pa.Table, path: Path) -> None:
    """Equal tables give equal bytes."""
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_memo(path: Path, kind: type[T]) -> T:
    """What `write_json` wrote, or an empty `kind` where the file is gone or damaged: a memo can be made anew."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return kind()
    return value if isinstance(value, kind) else kind()


def write_json(value: Any, path: Path) -> None:
    """Equal values give equal bytes."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
