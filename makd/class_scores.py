"""The columns of data/zero_shot.parquet, for those who write them and those who read them."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64


def class_columns(names: list[str]) -> list[str]:
    """A column a class: as in predictions.parquet, for a class may be a `path`."""
    return [f"class: {name}" for name in names]


def class_scores(table: Path, image_ids: pd.Series, names: list[str]) -> Float64[np.ndarray, "images classes"]:
    """P(yes) of each class; NaN where the image was not asked or not answered."""
    rows = pd.read_parquet(table).drop_duplicates("image_id").set_index("image_id")
    values = rows.reindex(index=image_ids, columns=class_columns(names))
    return np.asarray(values, dtype=np.float64)
