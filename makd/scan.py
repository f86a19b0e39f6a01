"""Reading every image once: its content hash, and whether it can be decoded. Remembered by place, size and times."""

import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from makd.errors import UserError, some
from makd.files import cache_dir, main_checkout, write_parquet
from makd.pictures import UnreadablePicture, decode_rgb, image_id, reason
from makd.progress import with_progress


class State(NamedTuple):
    """What a file looks like from outside; while it stays so, its content is taken to be the same."""

    file: str  # absolute: checkouts may share a cache
    size: int
    mtime_ns: int
    ctime_ns: int  # unlike mtime_ns, it cannot be set back
    inode: int


MEMO_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("ctime_ns", pa.int64()),
        ("inode", pa.uint64()),
        ("image_id", pa.string()),
    ]
)
CHUNK = 64


def scan(paths: list[str], *, workers: int, progress: bool) -> pd.DataFrame:
    """Columns path, image_id, error of each of `paths`, in their order; error is null for an image that decodes.

    A file that looks as in an earlier scan is not read again, unless it could not be read: that is rare, and it may
    have been mended.
    """
    root = main_checkout().resolve()
    states = {path: state_of(root / path) for path in paths}
    memo_file = cache_dir() / "images.parquet"
    memo = read_memo(memo_file)
    fresh = {state: path for path, state in states.items() if state not in memo}
    if fresh:
        read = dict(zip(fresh, read_all(list(fresh.values()), workers, progress), strict=True))
        outdated = {state.file for state in fresh}
        memo = {state: image for state, image in memo.items() if state.file not in outdated}
        memo |= {state: image for state, (image, _) in read.items() if image is not None}
        write_memo(memo, memo_file)
    else:
        read = {}
    rows = [(path, memo.get(state), read.get(state, (None, None))[1]) for path, state in states.items()]
    found = pd.DataFrame(rows, columns=["path", "image_id", "error"], dtype=object).set_index("path")
    return found.loc[paths].reset_index()


def without_unreadable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an image_id; the others are named, with their `path` and `error`.

    Raises:
        UserError: none has one.
    """
    bad = rows[rows["image_id"].isna()]
    if len(bad):
        are = "is" if len(bad) == 1 else "are"
        print(f"{len(bad)} of {len(rows)} files cannot be read and {are} left out:", file=sys.stderr)
        for path, error in zip(bad["path"], bad["error"], strict=True):
            print(f"  {path}: {error}", file=sys.stderr)
    if len(bad) == len(rows):
        raise UserError(f"none of the {len(rows)} files can be read; the first: {bad['path'].iloc[0]}")
    return rows[rows["image_id"].notna()].reset_index(drop=True)


def warn_of_copies(rows: pd.DataFrame, column: str, where: str) -> None:
    """Say which pictures stand at several values of `column`; nothing is removed, for it is the user's data."""
    twice = rows[rows.groupby("image_id")[column].transform("nunique") > 1].sort_values(["image_id", "path"])
    if len(twice):
        n = twice["image_id"].nunique()
        stand = "picture stands" if n == 1 else "pictures stand"
        print(f"warning: {n} {stand} {where}: {some(list(twice['path']))}", file=sys.stderr)


def state_of(file: Path) -> State:
    try:
        found = file.stat()
    except OSError:
        return State(str(file), -1, -1, -1, 0)
    return State(str(file), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def read_memo(file: Path) -> dict[State, str]:
    """The image_id of each state that was seen; empty where the memo is gone, damaged or of another version."""
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException):
        return {}
    if not table.schema.equals(MEMO_SCHEMA):
        return {}
    *states, images = (column.to_pylist() for column in table.columns)
    return dict(zip(map(State, *states), images, strict=True))


def write_memo(memo: dict[State, str], file: Path) -> None:
    rows = [(*state, image) for state, image in memo.items()]
    arrays = [pa.array([row[column] for row in rows], kind) for column, kind in enumerate(MEMO_SCHEMA.types)]
    write_parquet(pa.table(arrays, schema=MEMO_SCHEMA), file)


def read_all(paths: list[str], workers: int, progress: bool) -> list[tuple[str | None, str | None]]:
    def all_of(results: Iterable[tuple[str | None, str | None]]) -> list[tuple[str | None, str | None]]:
        return list(with_progress(results, len(paths), title="reading images", unit="images", shown=progress))

    if workers == 0 or len(paths) < CHUNK:
        return all_of(map(read_one, paths))
    with ProcessPoolExecutor(workers) as pool:
        return all_of(pool.map(read_one, paths, chunksize=CHUNK))


def read_one(path: str) -> tuple[str | None, str | None]:
    """(image_id, None), or (None, reason) for a file that is missing, empty, truncated or no image.

    The reason goes behind the path, and does not say it again.
    """
    file = main_checkout() / path
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            return None, "is no file"
        content = file.read_bytes()
        decode_rgb(BytesIO(content), file)
    except OSError as error:
        return None, str(error.strerror or error)
    except UnreadablePicture as error:
        return None, f"cannot be read as a picture: {reason(error.__cause__)}"
    return image_id(content), None
