"""The report's CSV files: a data frame written, and read back as it was."""

from pathlib import Path

import pandas as pd

from makd.errors import UserError
from makd.files import atomic_write

TEXTS = (
    "model",
    "arm",
    "question",
    "class",
    "true_class",
    "predicted_class",
    "highest_class",
    "lowest_class",
    "baseline_worst_class",
    "makd_worst_class",
    "flags",
    "device",
    "extraction_device",
)
"""Columns of text, whatever it looks like: a class may be called 007 or NA."""


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Six significant digits; an empty cell where there is no number."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format=six_digits, lineterminator="\n")


def six_digits(value: float) -> str:
    """With a point where all digits are before it: else a column of whole numbers would come back as integers."""
    text = f"{value:.6g}"
    return f"{text}.0" if text.removeprefix("-").isdigit() else text


def read_csv(path: Path, mending: str) -> pd.DataFrame:
    """What `write_csv` wrote; an empty cell is NaN.

    Raises:
        UserError: there is no such file, or it is damaged; the message ends with `mending`.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; {mending}")
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(TEXTS, "str"))
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}; {mending}") from None
