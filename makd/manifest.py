"""The manifest: one row an image, in a stable order. No later stage lists a folder."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from makd.files import parquet_errors, write_parquet

SPLITS = ("train", "val", "test")

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),  # hash of the file's bytes: the same picture has the same answers wherever it lies
        ("path", pa.string()),  # relative to the main checkout, or absolute
        ("split", pa.string()),
        ("label", pa.int64()),  # 0 .. C-1, the rank of class_name in sorted order
        ("class_name", pa.string()),
    ]
)


def write_manifest(rows: pd.DataFrame, path: Path) -> None:
    """Write `rows` (columns of SCHEMA) sorted by split, label and path."""
    order = rows["split"].map(SPLITS.index)
    rows = rows.assign(order=order).sort_values(["order", "label", "path"])
    write_parquet(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False).replace_schema_metadata(None), path)


def read_manifest(path: Path) -> pd.DataFrame:
    """A row an image, columns of SCHEMA, index 0..n-1.

    Raises:
        UserError: the file is missing or damaged.
    """
    with parquet_errors(path, "run: dvc repro"):
        return pq.read_table(path, schema=SCHEMA).to_pandas()


def class_names(manifest: pd.DataFrame) -> list[str]:
    """Names by label, 0..C-1."""
    names = manifest.drop_duplicates("label").sort_values("label")
    return list(names["class_name"])
