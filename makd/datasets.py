"""Where the images are: each dataset as rows of (path, class_name, split), before anything is read."""

import os
from pathlib import Path

import pandas as pd

from makd.errors import UserError
from makd.files import main_checkout
from makd.manifest import SPLITS

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
"""What counts as an image by name; the scan then decodes each one."""

COLUMNS = ("path", "class_name", "split")

HEADER = 2
"""Rows of a list are counted as an editor counts them: the first is the header."""


def imagefolder(root: Path) -> pd.DataFrame:
    """A folder a class, below train/ [val/] test/ or directly below `root`.

    train/ and val/ without test/ is ImageNet's habit: that val/ is the test split here, and val is cut from train/.

    Returns:
        COLUMNS; split is null where it is still to be made.
    """
    folder = main_checkout() / root
    if not folder.is_dir():
        raise UserError(
            f"prepare_dataset.root: {root} is not a folder; give one with a folder a class, or train/ and test/"
        )
    present = [split for split in SPLITS if (folder / split).is_dir()]
    if not present:
        return in_class_folders(root, None)
    if "train" not in present:
        raise UserError(f"prepare_dataset.root: {root} has {' and '.join(present)}/ but no train/")
    rename = {"val": "test"} if "test" not in present else {}
    return pd.concat([in_class_folders(root / split, rename.get(split, split)) for split in present], ignore_index=True)


def in_class_folders(root: Path, split: str | None) -> pd.DataFrame:
    """The images in the folders of `root`; those beside the folders belong to no class."""
    rows = []
    for class_folder in sorted(entry for entry in (main_checkout() / root).iterdir() if entry.is_dir()):
        for folder, subfolders, names in os.walk(class_folder):
            subfolders.sort()
            below = root / Path(folder).relative_to(main_checkout() / root)
            rows += [((below / name).as_posix(), class_folder.name, split) for name in sorted(names) if is_image(name)]
    loose = sum(is_image(entry.name) for entry in (main_checkout() / root).iterdir() if entry.is_file())
    if loose and not rows:
        lie = "image lies" if loose == 1 else "images lie"
        raise UserError(f"prepare_dataset.root: {loose} {lie} directly in {root}; expected a folder a class")
    return pd.DataFrame(rows, columns=COLUMNS)


def is_image(name: str) -> bool:
    return Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")


def image_list(file: Path) -> pd.DataFrame:
    """A CSV or Parquet table with the columns path, label and, if the splits are given, split (train, val, test).

    Relative paths are relative to the folder of the list; a label is the class's name.
    """
    if not (main_checkout() / file).is_file():
        raise UserError(
            f"prepare_dataset.root: {file} is not a file; a `list` needs a CSV or Parquet of path,label[,split]"
        )
    read = pd.read_parquet if file.suffix == ".parquet" else pd.read_csv
    table = read(main_checkout() / file).reset_index(drop=True)
    missing = {"path", "label"} - set(table.columns)
    if missing:
        raise UserError(f"{file} lacks the column {' and '.join(sorted(missing))}; it has {', '.join(table.columns)}")
    split = (
        table["split"].replace({"validation": "val"})
        if "split" in table
        else pd.Series(None, table.index, dtype=object)
    )
    unknown = sorted(set(split.dropna()) - set(SPLITS))
    if unknown:
        raise UserError(f"{file}: split must be train, val or test, got {unknown[0]!r}")
    if split.isna().any() and not split.isna().all():
        raise UserError(
            f"{file}: split is empty in {split.isna().sum()} of {len(table)} rows; give it in all of them or in none"
        )
    if table[["path", "label"]].isna().any(axis=None):
        raise UserError(
            f"{file}: path or label is empty in row {table[['path', 'label']].isna().any(axis=1).idxmax() + HEADER}"
        )
    paths = [(file.parent / path).as_posix() for path in table["path"].astype(str)]
    rows = pd.DataFrame({"path": paths, "class_name": table["label"].astype(str), "split": split.astype(object)})
    check_files(rows, file)
    return rows


def check_files(rows: pd.DataFrame, file: Path) -> None:
    """Refuse a list that names files that are not there, or one file under two labels."""
    absent = [row for row, path in enumerate(rows["path"]) if not (main_checkout() / path).is_file()]
    if absent:
        row, *others = absent
        more = f" (1 of {len(absent)} such rows)" if others else ""
        raise UserError(
            f"row {row + HEADER} of {file}: {rows['path'].iloc[row]} is not there{more}; "
            "mend or remove it; relative paths start from the list's folder"
        )
    for path, group in rows[rows.duplicated("path", keep=False)].groupby("path"):
        other = group[group["class_name"] != group["class_name"].iloc[0]]
        if len(other):
            raise UserError(
                f"{file}: {path} has the label {group['class_name'].iloc[0]!r} in row {group.index[0] + HEADER} and "
                f"{other['class_name'].iloc[0]!r} in row {other.index[0] + HEADER}; give it one"
            )
