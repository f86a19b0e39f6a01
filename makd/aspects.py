"""The aspect table: P(yes) of every question for every image, as data/aspects.parquet holds it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.errors import UserError

KEY_COLUMNS = ("image_id", "path", "split", "label", "class_name")


def read_aspects(path: Path) -> pd.DataFrame:
    """KEY_COLUMNS, then a float32 column a question, named by its text; NaN where there is no answer."""
    return pd.read_parquet(path)


def question_columns(table: pd.DataFrame) -> list[str]:
    """The question texts, in rank order."""
    return [column for column in table.columns if column not in KEY_COLUMNS]


def p_yes_matrix(table: pd.DataFrame, image_ids: pd.Series) -> npt.NDArray[np.float32]:
    """P(yes) of the images, shape (images, Q), in [0, 1] or NaN, in the order of `image_ids`.

    Raises:
        UserError: an image has no row at all (a row of nulls is fine).
    """
    by_image = table.drop_duplicates("image_id").set_index("image_id")[question_columns(table)]
    missing = image_ids[~image_ids.isin(by_image.index)]
    if len(missing):
        raise UserError(
            f"data/aspects.parquet has no row for {len(missing)} of {len(image_ids)} images, the first is "
            f"{missing.iloc[0]}; run: dvc repro extract_logits"
        )
    return np.asarray(by_image.loc[image_ids].to_numpy(dtype=np.float32))
