"""A detection dataset between the stages: pictures, boxes and categories.

Boxes stay as the dataset has them; `makd/detection_pictures.py` makes training targets of them.
"""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from makd.errors import UserError
from makd.files import parquet_errors, read_schema, write_parquet

MENDING = "run: dvc repro prepare_detection"

SCHEMAS = {
    "pictures": pa.schema(
        [
            ("image_id", pa.string()),  # hash of the file's bytes, as in the manifest
            ("path", pa.string()),  # relative to the main checkout, or absolute
            ("split", pa.string()),  # train or test
            ("coco_id", pa.int64()),  # the dataset's own id; unique in its split
            ("width", pa.int64()),  # pixels, in the frame of the boxes
            ("height", pa.int64()),
            ("orientation", pa.int64()),  # EXIF's, that turns the frame of the boxes upright; 1 where it is upright
        ]
    ),
    "boxes": pa.schema(
        [
            ("split", pa.string()),
            ("coco_id", pa.int64()),  # of the picture
            ("label", pa.int64()),  # 0 .. C-1
            ("left", pa.float64()),  # pixels
            ("top", pa.float64()),
            ("width", pa.float64()),
            ("height", pa.float64()),
            ("area", pa.float64()),  # square pixels, of the outline where the dataset has one
            ("crowd", pa.bool_()),
        ]
    ),
    "categories": pa.schema([("label", pa.int64()), ("coco_id", pa.int64()), ("name", pa.string())]),
}


class DetectionSet(NamedTuple):
    """Data frames with the columns of SCHEMAS."""

    pictures: pd.DataFrame
    boxes: pd.DataFrame
    categories: pd.DataFrame

    def of(self, split: str) -> "DetectionSet":
        """The pictures and boxes of a split, index 0..n-1."""
        pictures, boxes = (part[part["split"] == split].reset_index(drop=True) for part in self[:2])
        return DetectionSet(pictures, boxes, self.categories)

    @property
    def names(self) -> list[str]:
        """Of the categories, by label."""
        return list(self.categories["name"])


def write_set(found: DetectionSet, paths: dict[str, Path]) -> None:
    """A file a table of SCHEMAS."""
    for name, schema in SCHEMAS.items():
        rows = pa.Table.from_pandas(getattr(found, name), schema=schema, preserve_index=False)
        write_parquet(rows.replace_schema_metadata(None), paths[name])


def read_set(pictures: Path, boxes: Path, categories: Path) -> DetectionSet:
    """Raises a UserError where a file is missing or damaged."""
    tables = []
    for path, schema in zip((pictures, boxes, categories), SCHEMAS.values(), strict=True):
        if read_schema(path, mending=MENDING).names != schema.names:
            raise UserError(f"{path} must have the columns {', '.join(schema.names)}; {MENDING}")
        with parquet_errors(path, MENDING):
            tables.append(pq.read_table(path, schema=schema).to_pandas())
    return DetectionSet(*tables)
