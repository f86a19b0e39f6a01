"""The datasets of the paper as rows of (path, class_name, split); torchvision's classes read those that it knows.

Splits are the official ones, with train and val together, as the paper trains; a val split is then cut as from any
dataset. Where there is no official split, it is null, and test is cut too. Class names are fit for a prompt.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pandas as pd

from makd.datasets import COLUMNS, is_image
from makd.errors import UserError
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
        )
        yield from ((path, found.classes[label], split) for path, label in found._samples)


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
        found = opened(DTD, root, "dtd/dtd/ with images/ and labels/", split=official, partition=fold)
        yield from listed(found, split)


def flowers102(root: Path, protocol: str) -> Rows:
    """102 flowers, official: 1,020 + 1,020 and 6,149 images; random: all of them, cut anew.

    The paper's accuracies fit 80 % of the images in training, not the official split.
    """
    from torchvision.datasets import Flowers102

    for official, split in (("train", "train"), ("val", "train"), ("test", "test")):
        found = opened(Flowers102, root, "flowers-102/ with jpg/, imagelabels.mat and setid.mat", split=official)
        yield from listed(found, split if protocol == "official" else None)


def fgvc_aircraft(root: Path) -> Rows:
    """100 variants of aircraft, 6,667 + 3,333 images; named with their manufacturer: Boeing 737-700."""
    from torchvision.datasets import FGVCAircraft

    for official, split in (("trainval", "train"), ("test", "test")):
        variants, makers = (
            opened(FGVCAircraft, root, "fgvc-aircraft-2013b/ with data/", split=official, annotation_level=level)
            for level in ("variant", "manufacturer")
        )
        maker_of = {
            path: makers.classes[label] for path, label in zip(makers._image_files, makers._labels, strict=True)
        }
        for path, label in zip(variants._image_files, variants._labels, strict=True):
            maker, variant = maker_of[path], variants.classes[label]
            yield path, variant if variant.startswith(maker) else f"{maker} {variant}", split


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
    tables = {}
    for name in ("images", "train_test_split", "image_class_labels", "classes"):
        try:
            lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise absent(root, "CUB_200_2011/ of the archive CUB_200_2011.tgz", str(error.strerror)) from None
        tables[name] = dict(line.split(maxsplit=1) for line in lines if line)
    for number, path in tables["images"].items():
        name = tables["classes"][tables["image_class_labels"][number]]
        split = "train" if tables["train_test_split"][number] == "1" else "test"
        yield folder / "images" / path, name.split(".", 1)[-1].replace("_", " "), split


def mini_imagenet(root: Path) -> Rows:
    """100 classes of ImageNet, 60,000 images of all three meta-splits, cut anew by class.

    Either a folder a class, perhaps below train/, val/ and test/, or train.csv, val.csv and test.csv of filename,label
    with images/ beside them.
    """
    lists = sorted(path for path in root.glob("*.csv") if path.stem in ("train", "val", "test"))
    if lists:
        table = pd.concat([pd.read_csv(path, dtype=str) for path in lists])
        pairs = [(root / "images" / name, label) for name, label in zip(table["filename"], table["label"], strict=True)]
    else:
        images = sorted(path for path in root.rglob("*") if is_image(path.name))
        pairs = [(path, path.parent.name) for path in images]
    if not pairs:
        raise absent(root, "a folder a class, or train.csv, val.csv and test.csv with images/", "no image")
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


def listed(found: Any, split: str | None) -> Iterator[tuple[Path, str, str | None]]:
    yield from (
        (path, found.classes[label], split) for path, label in zip(found._image_files, found._labels, strict=True)
    )


def opened(kind: Callable[..., Any], root: Path, layout: str, *, can_download: bool = True, **options: Any) -> Any:
    """A dataset of torchvision, downloaded where it is not there and its source still serves it.

    Raises:
        UserError: it is neither there nor to be had; `layout` says what belongs below `root`.
    """
    try:
        return kind(root, **options)
    except (OSError, KeyError, ValueError) as error:
        raise absent(root, layout, f"{type(error).__name__}: {error}") from None
    except RuntimeError as error:  # "Dataset not found"
        if not can_download:
            raise absent(root, layout, str(error)) from None
    try:
        print(f"{root} has no {layout.split()[0]}: downloading", flush=True)
        return kind(root, download=True, **options)
    except (OSError, URLError, RuntimeError, ImportError, ValueError) as error:
        raise absent(root, layout, f"the download failed: {error}") from None


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
