"""Mini-ImageNet as one dataset of 100 classes: the few-shot splits, which share no class, are pooled and cut anew."""

import os
import re
from pathlib import Path

import pandas as pd

from makd.datasets import Row, annotated, is_image
from makd.errors import UserError
from makd.files import main_checkout

WNID = re.compile(r"n\d{8}")
LISTS = ("train.csv", "val.csv", "test.csv")
SOURCE = "put a folder a class, named by its WordNet id, or train.csv, val.csv, test.csv and images/ there"


def mini_imagenet(root: Path) -> pd.DataFrame:
    """100 classes of 600 images: folders named by WordNet id at any depth, or the CSVs of Ravi and Larochelle.

    The CSVs (filename,label; github.com/twitter-research/meta-learning-lstm) name files in images/. Classes are called
    by the first of their names in ImageNet.

    Returns:
        COLUMNS; split is null throughout.

    Raises:
        UserError: neither is there, a listed image is missing, or a class is none of ImageNet-1k.
    """
    folder = main_checkout() / root
    listed = any((folder / name).is_file() for name in LISTS)
    found = in_lists(folder, root) if listed else in_wnid_folders(folder)
    if not found:
        raise UserError(f"prepare_dataset.root: no class of Mini-ImageNet below {root}; {SOURCE}")
    names = names_of({wnid for _, wnid in found})
    rows: list[Row] = [(str(path), names[wnid], None) for path, wnid in found]
    return annotated(rows, root, SOURCE)


def in_lists(folder: Path, root: Path) -> list[tuple[Path, str]]:
    """(file, WordNet id) of all three lists."""
    try:
        lists = pd.concat([pd.read_csv(folder / name, dtype=str) for name in LISTS])
        if lists[["filename", "label"]].isna().any(axis=None):
            raise ValueError("a cell is empty")
        return [(folder / "images" / file, wnid) for file, wnid in zip(lists["filename"], lists["label"], strict=True)]
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"prepare_dataset.root: the lists in {root} cannot be read as filename,label ({reason}); {SOURCE}"
        ) from None


def in_wnid_folders(folder: Path) -> list[tuple[Path, str]]:
    """(file, WordNet id) of the images in folders so named, and below them."""
    found = []
    for parent, subfolders, names in os.walk(folder):
        subfolders.sort()
        wnids = [part for part in Path(parent).relative_to(folder).parts if WNID.fullmatch(part)]
        if wnids:
            found += [(Path(parent, name), wnids[-1]) for name in sorted(names) if is_image(name)]
    return found


def names_of(wnids: set[str]) -> dict[str, str]:
    """The first of each class's names in ImageNet: "house finch" of "house finch, linnet, Carpodacus mexicanus"."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    unknown = sorted(wnids - set(info.label_names()))
    if unknown:
        raise UserError(
            f"prepare_dataset.root: {unknown[0]} is no class of ImageNet-1k ({len(unknown)} such); {SOURCE}"
        )
    names = {wnid: info.label_name_to_description(wnid).split(",")[0] for wnid in wnids}
    if len(set(names.values())) < len(names):
        raise UserError(
            "prepare_dataset.root: two classes have one name in ImageNet, none of which is in Mini-ImageNet; "
            "use dataset: imagefolder, with folders named as you like"
        )
    return names
