"""Files that are whole or absent, and where the expensive ones live."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def main_checkout() -> Path:
    """The checkout that the user works in, in `dvc exp run --temp` and `--queue` copies too: DVC sets DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT", "."))


def cache_dir() -> Path:
    """Where work in progress lives, outside DVC's outs: $MAKD_CACHE, else .cache/ of the main checkout."""
    return Path(os.environ.get("MAKD_CACHE") or main_checkout() / ".cache")


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


def write_parquet(table: pa.Table, path: Path) -> None:
    """Equal tables give equal bytes."""
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_json(value: Any, path: Path) -> None:
    """Equal values give equal bytes."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
