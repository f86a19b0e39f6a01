"""The datasets of the paper as rows of (path, class_name, split); torchvision's classes read those that it knows.

Splits are the official ones, with train and val together, as the paper trains; a val split is then cut as from any
dataset. Where there is no official split, it is null, and test is cut too. Class names are fit for a prompt.
"""

import os
import re
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pandas as pd

from makd.datasets import COLUMNS, is_image
from makd.errors import UserError
from makd.file_lock import held
from makd.files import main_checkout

Rows = Iterable[tuple[Path | str, str, str | None]]


def stanford_cars(root: Path) -> Rows:
    """196 models of cars, 8,144 + 8,041 images. Its source is gone: the archives must be there."""
    from torchvision.datasets import StanfordCars

    for split in ("train", "test"):
        found = opened(
            StanfordCars,
            root,
            "stanford_cars/ with devkit/, cars_train/, cars_test/ and cars_test_annos_withlabels.mat",
            split=split,
            can_download=False,
            loader=str,
        )
        yield from listed(found, found.classes, split)


def oxford_pets(root: Path) -> Rows:
    """37 breeds of cats and dogs, 3,680 + 3,669 images."""
    from torchvision.datasets import OxfordIIITPet

    for official, split in (("trainval", "train"), ("test", "test")):
        found = opened(OxfordIIITPet, root, "oxford-iiit-pet/ with images/ and annotations/", split=official)
        yield from (
            (path, found.classes[label], split) for path, label in zip(found._images, found._labels, strict=True)
        )


def dtd(root: Path, fold: int) -> Rows:
    """47 textures, 3,760 + 1,880 images in each of ten folds."""
    from torchvision.datasets import DTD

    for official, split in (("train", "train"), ("val", "train"), ("test", "test")):
        found = opened(DTD, root, "dtd/dtd/ with images/ and labels/", split=official, partition=fold, loader=str)
        yield from listed(found, found.classes, split)


def flowers102(root: Path, protocol: str) -> Rows:
    """102 flowers, official: 1,020 + 1,020 and 6,149 images; random: all of them, cut anew.

    The paper's accuracies fit 80 % of the images in training, not the official split.
    """
    from torchvision.datasets import Flowers102

    layout = "flowers-102/ with jpg/, imagelabels.mat and setid.mat"
    names = [name.rstrip("?") for name in Flowers102.classes]  # one is the "pink-yellow dahlia?"
    for official, split in (("train", "train"), ("val", "train"), ("test", "test")):
        found = opened(Flowers102, root, layout, split=official, loader=str)
        yield from listed(found, names, split if protocol == "official" else None)


def fgvc_aircraft(root: Path) -> Rows:
    """100 variants of aircraft, 6,667 + 3,333 images; named with their manufacturer: Boeing 737-700."""
    from torchvision.datasets import FGVCAircraft

    layout = "fgvc-aircraft-2013b/ with data/"
    for official, split in (("trainval", "train"), ("test", "test")):
        variants, makers = (
            opened(FGVCAircraft, root, layout, split=official, annotation_level=level, loader=str)
            for level in ("variant", "manufacturer")
        )
        maker_of = {path: maker for path, maker, _ in listed(makers, makers.classes, split)}
        for path, variant, _ in listed(variants, variants.classes, split):
            yield path, with_maker(variant, maker_of[path]), split


def with_maker(variant: str, maker: str) -> str:
    """Such as "Boeing 737-700", but not "Cessna Cessna 172" nor "Gulfstream Aerospace Gulfstream IV"."""
    return variant if variant.startswith(maker.split()[0]) else f"{maker} {variant}"


def caltech101(root: Path) -> Rows:
    """101 objects (two of them faces) without the background, 8,677 images, no official split; LaViD cuts a half."""
    from torchvision.datasets import Caltech101

    found = opened(Caltech101, root, "caltech101/101_ObjectCategories/ with a folder a class")
    folders = Path(found.root) / "101_ObjectCategories"
    for index, label in zip(found.index, found.y, strict=True):
        name = found.categories[label]
        yield folders / name / f"image_{index:04d}.jpg", name.replace("_", " "), None


def cub200(root: Path) -> Rows:
    """200 species of birds, 5,994 + 5,794 images: the archive CUB_200_2011 as it is unpacked."""
    folder = root / "CUB_200_2011"
    layout = "CUB_200_2011/ of the archive CUB_200_2011.tgz"
    try:
        images, splits, labels, classes = (
            numbered(folder / f"{name}.txt") for name in ("images", "train_test_split", "image_class_labels", "classes")
        )
        for number, path in images.items():
            name = classes[labels[number]].split(".", 1)[-1].replace("_", " ")
            yield folder / "images" / path, name, {"1": "train", "0": "test"}[splits[number]]
    except OSError as error:
        raise absent(root, layout, f"{error.filename}: {error.strerror}") from None
    except (ValueError, KeyError) as error:
        raise absent(root, layout, f"its lists do not fit together ({error})") from None


def numbered(file: Path) -> dict[str, str]:
    """Lines of a number and a text."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return {number: text for number, text in (line.split(maxsplit=1) for line in lines if line)}


def mini_imagenet(root: Path) -> Rows:
    """100 classes of ImageNet, 60,000 images of all three meta-splits, cut anew by class.

    Either a folder a class, perhaps below train/, val/ and test/, or train.csv, val.csv and test.csv of filename,label
    with images/ beside them.
    """
    layout = "a folder a class, or train.csv, val.csv and test.csv with images/"
    lists = [root / f"{name}.csv" for name in ("train", "val", "test")]
    if any(path.is_file() for path in lists):
        try:
            tables = pd.concat([pd.read_csv(path, dtype=str, usecols=["filename", "label"]) for path in lists])
            if tables.isna().any(axis=None):
                raise ValueError("a cell is empty")
        except (OSError, ValueError) as error:  # pandas' errors are ValueErrors
            raise absent(root, layout, f"the lists cannot be read: {error}") from None
        pairs = [
            (root / "images" / name, label) for name, label in zip(tables["filename"], tables["label"], strict=True)
        ]
    else:
        images = sorted(path for path in root.rglob("*") if is_image(path.name))
        pairs = [(path, path.parent.name) for path in images]
    if not pairs:
        raise absent(root, layout, "no image")
    name_of = names_of_synsets({label for _, label in pairs})
    return [(path, name_of[label], None) for path, label in pairs]


def names_of_synsets(labels: set[str]) -> dict[str, str]:
    """ImageNet's name for n02085620 and the like, the first of several; with its meaning where two are called alike.

    Other labels are names already.
    """
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    names, meanings = (
        dict(zip(info.label_names(), info.label_descriptions(detailed=detailed), strict=True))
        for detailed in (False, True)
    )
    unknown = sorted(label for label in labels if re.fullmatch(r"n\d{8}", label) and label not in names)
    if unknown:
        raise UserError(f"mini_imagenet: {unknown[0]} is no class of ImageNet-1k; rename it to the class's name")
    short = {label: names.get(label, label).split(",")[0] for label in labels}
    counts = Counter(short.values())
    return {label: name if counts[name] == 1 else meanings.get(label, label) for label, name in short.items()}


def listed(found: Any, names: list[str], split: str | None) -> Iterator[tuple[str, str, str | None]]:
    """Of a dataset with `loader=str`, torchvision's public way to paths in place of pictures."""
    for index in range(len(found)):
        path, label = found[index]
        yield path, names[label], split


def opened(kind: Callable[..., Any], root: Path, layout: str, *, can_download: bool = True, **options: Any) -> Any:
    """A dataset of torchvision, downloaded where its folder is not there and its source still serves it.

    Raises:
        UserError: it is neither there nor to be had, or not whole; `layout` says what belongs below `root`.
    """
    from scipy.io.matlab import MatReadError

    if not (root / layout.split("/")[0]).is_dir():
        if not can_download:
            raise absent(root, layout, "it is served nowhere any more")
        download(kind, root, layout)
    try:
        return kind(root, **options)
    except RuntimeError:  # torchvision's own, which advises what a user of makd cannot do
        raise absent(root, layout, "what is there is not whole or damaged; unpack its archive again") from None
    except (OSError, LookupError, ValueError, MatReadError, zlib.error) as error:
        raise absent(root, layout, f"{type(error).__name__}: {error}") from None


def download(kind: Callable[..., Any], root: Path, layout: str) -> None:
    """Into a folder beside, and rename: one that is killed or fails leaves nothing that looks like a dataset."""
    folder = layout.split("/")[0]
    partial = root / f".{folder}.partial"
    try:
        with held(root / f".{folder}.lock"):
            if not (root / folder).is_dir():  # else another process had it while this one waited
                print(f"{root} has no {folder}/: downloading", file=sys.stderr, flush=True)
                shutil.rmtree(partial, ignore_errors=True)
                kind(partial, download=True)
                os.replace(partial / folder, root / folder)
    except (OSError, HTTPException, RuntimeError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise absent(root, layout, f"the download failed: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def absent(root: Path, layout: str, reason: str) -> UserError:
    return UserError(f"prepare_dataset.root: expected {layout} below {root}; {' '.join(reason.split())}")


def published(name: str, root: Path, *, dtd_fold: int, flowers102_protocol: str) -> pd.DataFrame:
    """COLUMNS of one of the datasets of this module, whose archive lies, or is downloaded, below `root`.

    Raises:
        UserError: it is not there, or files that it lists are missing.
    """
    adapter: dict[str, Callable[[Path], Rows]] = {
        "stanford_cars": stanford_cars,
        "oxford_pets": oxford_pets,
        "dtd": lambda root: dtd(root, dtd_fold),
        "flowers102": lambda root: flowers102(root, flowers102_protocol),
        "fgvc_aircraft": fgvc_aircraft,
        "caltech101": caltech101,
        "cub200": cub200,
        "mini_imagenet": mini_imagenet,
    }
    rows = list(adapter[name](main_checkout() / root))
    gone = [path for path, _, _ in rows if not Path(path).is_file()]
    if gone:
        raise UserError(
            f"prepare_dataset.root: {len(gone)} of {len(rows)} images of {name} are missing, the first is {gone[0]}; "
            "unpack its archive again"
        )
    paths = [(root / Path(path).relative_to(main_checkout() / root)).as_posix() for path, _, _ in rows]
    return pd.DataFrame([(path, *rest) for path, (_, *rest) in zip(paths, rows, strict=True)], columns=COLUMNS)
