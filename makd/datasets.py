"""Where the images are: each dataset as rows of (path, class_name, split), before anything is read."""

import csv
import os
import sys
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
    present = split_folders(folder)
    if not present:
        return in_class_folders(root, None)
    if "train" not in present:
        raise UserError(f"prepare_dataset.root: {root} has {' and '.join(present.values())}/ but no train/")
    rename = {"val": "test"} if "test" not in present else {}
    tables = [in_class_folders(root / name, rename.get(split, split)) for split, name in present.items()]
    return pd.concat(tables, ignore_index=True)


def split_folders(folder: Path) -> dict[str, str]:
    """Names of the folders below `folder` that hold a split, by split; those left unused beside them are named."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    found: dict[str, str] = {}
    for name in names:
        split = split_named(name)
        if split in found:
            raise UserError(f"prepare_dataset.root: {folder} has {found[split]}/ and {name}/, both {split}; keep one")
        if split:
            found[split] = name
    unused = [name for name in names if name not in found.values()]
    if found and unused:
        beside, left = " and ".join(found.values()), ", ".join(unused)
        print(f"warning: folders beside {beside}/ in {folder} are left unused: {left}", file=sys.stderr)
    return {split: found[split] for split in SPLITS if split in found}


def split_named(name: str) -> str | None:
    """The split that a folder or a list calls `name`, in any case; None for another name."""
    split = {"valid": "val", "validation": "val"}.get(name.lower(), name.lower())
    return split if split in SPLITS else None


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
    table = read_parquet_texts(file) if file.suffix == ".parquet" else read_csv_texts(file)
    missing = {"path", "label"} - set(table.columns)
    if missing:
        raise UserError(f"{file} lacks the column {' and '.join(sorted(missing))}; it has {', '.join(table.columns)}")
    named = table["split"] if "split" in table else pd.Series(None, table.index, dtype=object)
    split = named.map(split_named, na_action="ignore")
    unknown = sorted(named[named.notna() & split.isna()])
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


def read_csv_texts(file: Path) -> pd.DataFrame:
    """Every cell as its text, null where it is blank: NA is the name of a class, and 007 is not 7."""
    try:
        with (main_checkout() / file).open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError as error:
        raise UserError(f"{file} must be UTF-8, but byte {error.start} is not; save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as CSV: {error}") from None
    if not rows:
        raise UserError(f"{file} is empty; a `list` needs a header with path,label[,split] and a row an image")
    header = [name.strip() for name in rows[0][1]]
    for name in ("path", "label", "split"):
        if header.count(name) > 1:
            raise UserError(f"{file} names the column {name} twice; keep one")
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise UserError(f"{file}, line {line}: {len(row)} cells, but the header has {len(header)}")
    return pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=object).map(text_or_none)


def read_parquet_texts(file: Path) -> pd.DataFrame:
    """As `read_csv_texts`."""
    try:
        table = pd.read_parquet(main_checkout() / file)
    except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
        reason = " ".join(str(error).split())
        raise UserError(f"{file} cannot be read as Parquet: {reason}") from None
    return table[[name for name in ("path", "label", "split") if name in table]].astype(object).map(text_or_none)


def text_or_none(value: object) -> str | None:
    return None if value is None or value is pd.NA or value != value else str(value).strip() or None
