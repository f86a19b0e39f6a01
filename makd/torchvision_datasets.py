"""Published datasets as torchvision reads them: where they lie, how they are had, which image is what.

`loader=str` makes the classes that take a loader give paths instead of pictures, which is their public way.
"""

import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from makd.datasets import Row, annotated
from makd.errors import UserError
from makd.file_lock import held
from makd.files import main_checkout

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset


class Published(NamedTuple):
    """Where a dataset lies and comes from; folders are those that torchvision wants."""

    read: Callable[[Path, int], list[Row]]  # of the root and the fold
    class_name: str  # in torchvision.datasets
    folder: str  # below the root
    inside: str  # a folder in it
    archives: str
    unpacked_in: str  # below the root
    downloads: bool = True


def published_dataset(name: str, root: Path, *, fold: int) -> pd.DataFrame:
    """The official splits of a dataset in PUBLISHED, downloaded into `root` where its folder is not there.

    Args:
        name: a key of PUBLISHED.
        root: that of the params.
        fold: of DTD, 1 to 10.

    Returns:
        COLUMNS; split is null where the dataset has none.

    Raises:
        UserError: it is not there and cannot be downloaded, or it is not whole.
    """
    from scipy.io.matlab import MatReadError

    dataset = PUBLISHED[name]
    source = f"unpack {dataset.archives} into {root / dataset.unpacked_in}"
    if not (main_checkout() / root / dataset.folder).is_dir():
        obtain(name, root, source)
    try:
        rows = dataset.read(main_checkout() / root, fold)
    except (OSError, RuntimeError, ValueError, LookupError, MatReadError, zlib.error) as error:
        # RuntimeError is torchvision's own, which advises what cannot be done here
        reason = "" if isinstance(error, RuntimeError) else f" ({' '.join(str(error).split())})"
        raise UserError(f"prepare_dataset.root: {root / dataset.folder} is not whole{reason}; {source}") from None
    return annotated(rows, root, source)


def obtain(name: str, root: Path, source: str) -> None:
    """Download into a folder beside, and rename: a folder of the dataset's own name is whole.

    Raises:
        UserError: `root` is the dataset's folder itself, or the download fails.
    """
    dataset, folder = PUBLISHED[name], main_checkout() / root
    if root.name == dataset.folder and (folder / dataset.inside).is_dir():
        raise UserError(f"prepare_dataset.root: {root} is the dataset itself; give the folder in which it lies")
    if not dataset.downloads:
        raise UserError(f"prepare_dataset.root: {root} has no {dataset.folder}/, and nobody serves it; {source}")
    partial = folder / f".{name}.partial"
    try:
        with held(folder / f".{name}.lock"):
            if not (folder / dataset.folder).is_dir():  # else another process had it while we waited
                print(f"downloading {name} into {root}", file=sys.stderr, flush=True)
                shutil.rmtree(partial, ignore_errors=True)
                torchvision_class(name)(partial, download=True)
                os.replace(partial / dataset.folder, folder / dataset.folder)
    except (OSError, HTTPException, RuntimeError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"prepare_dataset.root: {name} cannot be downloaded into {root} ({reason}); {source}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def torchvision_class(name: str) -> "type[VisionDataset]":
    import torchvision.datasets

    found: type[VisionDataset] = getattr(torchvision.datasets, PUBLISHED[name].class_name)
    return found


def labelled(dataset: "VisionDataset", names: list[str], split: str) -> list[Row]:
    """The rows of a dataset made with `loader=str`."""
    items = (dataset[index] for index in range(len(dataset)))
    return [(path, names[label], split) for path, label in items]


def stanford_cars(root: Path, _: int) -> list[Row]:
    """196 classes such as "AM General Hummer SUV 2000", 8144 / 8041 images."""
    from torchvision.datasets import StanfordCars

    found = [(split, StanfordCars(root, split, loader=str)) for split in ("train", "test")]
    return [row for split, dataset in found for row in labelled(dataset, dataset.classes, split)]


def oxford_pets(root: Path, _: int) -> list[Row]:
    """37 breeds such as "American Pit Bull Terrier", 3680 / 3669 images."""
    from torchvision.datasets import OxfordIIITPet

    rows: list[Row] = []
    for official, split in (("trainval", "train"), ("test", "test")):
        dataset = OxfordIIITPet(root, official)
        pairs = zip(dataset._images, dataset._labels, strict=True)  # it takes no loader
        rows += [(str(path), dataset.classes[label], split) for path, label in pairs]
    return rows


def dtd(root: Path, fold: int) -> list[Row]:
    """47 textures such as "banded", 1880 / 1880 / 1880 images in each of ten folds."""
    from torchvision.datasets import DTD

    found = [(split, DTD(root, split, partition=fold, loader=str)) for split in ("train", "val", "test")]
    return [row for split, dataset in found for row in labelled(dataset, dataset.classes, split)]


def flowers102(root: Path, _: int) -> list[Row]:
    """102 flowers such as "pink primrose", 1020 / 1020 / 6149 images."""
    from torchvision.datasets import Flowers102

    names = [name.rstrip("?") for name in Flowers102.classes]  # one is the "pink-yellow dahlia?"
    splits = ("train", "val", "test")
    return [row for split in splits for row in labelled(Flowers102(root, split, loader=str), names, split)]


def fgvc_aircraft(root: Path, _: int) -> list[Row]:
    """100 variants, 3334 / 3333 / 3333 images; the manufacturer is put before: "Boeing 737-700", not "737-700"."""
    from torchvision.datasets import FGVCAircraft

    def rows_of(split: str, level: str) -> list[Row]:
        dataset = FGVCAircraft(root, split, annotation_level=level, loader=str)
        return labelled(dataset, dataset.classes, split)

    rows: list[Row] = []
    maker_of: dict[str, str] = {}
    for split in ("train", "val", "test"):
        makers = {path: maker for path, maker, _split in rows_of(split, "manufacturer")}
        for path, variant, _split in rows_of(split, "variant"):
            maker = maker_of.setdefault(variant, makers[path])
            rows.append((path, with_maker(variant, maker), split))
    return rows


def with_maker(variant: str, maker: str) -> str:
    """Such as "Boeing 737-700", but not "Cessna Cessna 172" nor "ATR ATR-42"."""
    return variant if variant.startswith(maker.split()[0]) else f"{maker} {variant}"


def caltech101(root: Path, _: int) -> list[Row]:
    """101 objects such as "wild cat", 8677 images without the background class; no splits."""
    from torchvision.datasets import Caltech101

    if not (root / "caltech101" / "101_ObjectCategories" / "BACKGROUND_Google").is_dir():  # torchvision removes it
        raise FileNotFoundError("there is no BACKGROUND_Google/ in it")
    dataset = Caltech101(root)
    folders = [Path(dataset.root, "101_ObjectCategories", name) for name in dataset.categories]
    images = zip(dataset.y, dataset.index, strict=True)
    return [
        (str(folders[label] / f"image_{number:04d}.jpg"), folders[label].name.replace("_", " "), None)
        for label, number in images
    ]


VGG = "https://www.robots.ox.ac.uk/~vgg/data"
PUBLISHED = {
    "stanford_cars": Published(
        stanford_cars,
        class_name="StanfordCars",
        folder="stanford_cars",
        inside="devkit",
        archives="copies of cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat "
        "(github.com/pytorch/vision/issues/7545)",
        unpacked_in="stanford_cars",
        downloads=False,
    ),
    "oxford_pets": Published(
        oxford_pets,
        class_name="OxfordIIITPet",
        folder="oxford-iiit-pet",
        inside="annotations",
        archives=f"images.tar.gz and annotations.tar.gz of {VGG}/pets/",
        unpacked_in="oxford-iiit-pet",
    ),
    "dtd": Published(
        dtd,
        class_name="DTD",
        folder="dtd",
        inside="dtd",
        archives=f"dtd-r1.0.1.tar.gz of {VGG}/dtd/",
        unpacked_in="dtd",
    ),
    "flowers102": Published(
        flowers102,
        class_name="Flowers102",
        folder="flowers-102",
        inside="jpg",
        archives=f"102flowers.tgz, and put imagelabels.mat and setid.mat, of {VGG}/flowers/102/",
        unpacked_in="flowers-102",
    ),
    "fgvc_aircraft": Published(
        fgvc_aircraft,
        class_name="FGVCAircraft",
        folder="fgvc-aircraft-2013b",
        inside="data",
        archives=f"fgvc-aircraft-2013b.tar.gz of {VGG}/fgvc-aircraft/",
        unpacked_in="",
    ),
    "caltech101": Published(
        caltech101,
        class_name="Caltech101",
        folder="caltech101",
        inside="101_ObjectCategories",
        archives="101_ObjectCategories.tar.gz, from caltech-101.zip of https://data.caltech.edu/records/mzrjq-6wc02,",
        unpacked_in="caltech101",
    ),
}
