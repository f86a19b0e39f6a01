"""Reading every image once: its content hash, and whether it can be decoded. Remembered by size and time."""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import UnidentifiedImageError

from makd.files import cache_dir, main_checkout, write_parquet
from makd.pictures import UnreadablePicture, decode_rgb, image_id
from makd.progress import with_progress

MEMO_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("image_id", pa.string()),  # null where the file cannot be read
        ("error", pa.string()),
    ]
)
CHUNK = 64


def scan(paths: list[str], *, workers: int, progress: bool) -> pd.DataFrame:
    """Columns path, image_id, error of each of `paths`, in their order; error is null for an image that decodes.

    A file whose size and modification time are those of an earlier scan is not read again.
    """
    stats = pd.DataFrame([stat(path) for path in paths], columns=["path", "size", "mtime_ns"])
    memo_file = cache_dir() / "images.parquet"
    memo = pq.read_table(memo_file, schema=MEMO_SCHEMA).to_pandas() if memo_file.exists() else None
    known = stats.merge(memo, how="left") if memo is not None else stats.assign(image_id=None, error=None)
    fresh = known["image_id"].isna()  # an unreadable file is tried again: it is rare, and it may have been mended
    if fresh.any():
        known.loc[fresh, ["image_id", "error"]] = read_all(list(known.loc[fresh, "path"]), workers, progress)
        others = memo[~memo["path"].isin(known["path"])] if memo is not None else None
        table = pd.concat([frame for frame in (others, known) if frame is not None])
        write_parquet(pa.Table.from_pandas(table, schema=MEMO_SCHEMA, preserve_index=False), memo_file)
    found = known[["path", "image_id", "error"]].astype(object)
    return found.where(found.notna(), None)


def stat(path: str) -> tuple[str, int, int]:
    try:
        found = (main_checkout() / path).stat()
    except OSError:
        return path, -1, -1
    return path, found.st_size, found.st_mtime_ns


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
        content = file.read_bytes()
        decode_rgb(BytesIO(content), file)
    except OSError as error:
        return None, str(error.strerror or error)
    except UnreadablePicture as error:
        cause = error.__cause__
        what = "its format is unknown" if isinstance(cause, UnidentifiedImageError) else cause
        return None, f"cannot be read as a picture: {what}"
    return image_id(content), None
