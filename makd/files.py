"""Files that are whole or absent, and where the expensive ones live."""

import errno
import json
import os
import shutil
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


def make_parent(path: Path) -> None:
    """The folder that `path` will lie in; a UserError where there can be none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{path.parent} is a file" if path.parent.is_file() else error.strerror
        raise UserError(f"{path} cannot be written: {problem}; give another place") from None


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` at the end, so that `path` is never half written.

    Raises:
        UserError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{path} cannot be written: {os.strerror(error.errno)}; make room and run the same command again, "
            "what was saved before is kept"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that takes its place at the end, so that `out` is never half written."""
    partial = out.with_name(f".{out.name}.partial")  # one name, so that what a kill leaves behind is cleared next time
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: else a power cut may take that of a file whose bytes are there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Equal tables give equal bytes."""
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


@contextmanager
def parquet_writer(schema: pa.Schema, path: Path, *, repeated: list[str]) -> Iterator[pq.ParquetWriter]:
    """Write a table that is too large for memory piece by piece; `path` is whole or as it was.

    Equal pieces give equal bytes. The `repeated` columns are those whose values are worth a dictionary.
    """
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=repeated) as writer,
    ):
        yield writer


@contextmanager
def parquet_errors(path: Path, mending: str) -> Iterator[None]:
    """Make a `UserError`, which ends with `mending`, of all that PyArrow says of a file that is not whole."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}; {mending}") from None


def read_schema(path: Path, *, mending: str) -> pa.Schema:
    """The columns of a Parquet file; what to do about a damaged one is `mending`."""
    with parquet_errors(path, mending):
        return pq.read_schema(path)


def read_in_batches(path: Path, rows: int, columns: list[str], *, mending: str) -> Iterator[pa.RecordBatch]:
    """Batches of at most so many rows. By row groups: asked for all at once, PyArrow reads far ahead.

    Raises:
        UserError: the file is damaged or lacks a column; the message ends with `mending`.
    """
    with parquet_errors(path, mending), pq.ParquetFile(path) as file:
        if lacking := sorted(set(columns) - set(file.schema_arrow.names)):
            raise UserError(f"{path} has no column {lacking[0]!r}; {mending}")
        for group in range(file.num_row_groups):
            yield from file.iter_batches(rows, row_groups=[group], columns=columns)


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
