"""The datasets of the paper in miniature: a few grey pictures below the annotations that their archives come with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat


def picture(path: Path, value: int = 0) -> None:
    """Pictures of different values differ, as JPEGs too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    red, green = 32 * (value % 8), 32 * (value // 8)
    Image.new("RGB", (8, 8), (red, green, 0)).save(path)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


CARS = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]


def stanford_cars(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(CARS, dtype=object)})
    for split, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        names = [f"{number:05}.jpg" for number in range(1, 5)]
        annotations = np.array(
            [(name, number % 2 + 1) for number, name in enumerate(names)], dtype=[("fname", object), ("class", int)]
        )
        savemat(folder / file, {"annotations": annotations})
        for number, name in enumerate(names):
            picture(folder / f"cars_{split}" / name, number + 10 * (split == "test"))


def oxford_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    for split, first in (("trainval", 1), ("test", 3)):
        names = [f"{name}_{i}" for name in ("Abyssinian", "american_bulldog") for i in (first, first + 1)]
        lines = [f"{name} {1 + name.startswith('am')} {1 + name.startswith('am')} 1" for name in names]
        text(folder / "annotations" / f"{split}.txt", *lines)
        for number, name in enumerate(names):
            picture(folder / "images" / f"{name}.jpg", number + 10 * first)


def dtd(root: Path) -> None:
    folder = root / "dtd/dtd"
    for fold in (1, 2):
        for place, split in enumerate(("train", "val", "test")):
            number = (place + fold) % 3
            lines = [f"{name}/{name}_{number:04}.jpg" for name in ("banded", "polka-dotted")]
            text(folder / "labels" / f"{split}{fold}.txt", *lines)
            for k, line in enumerate(lines):
                picture(folder / "images" / line, 2 * number + k)


def flowers102(root: Path) -> None:
    folder = root / "flowers-102"
    folder.mkdir(parents=True)
    savemat(folder / "imagelabels.mat", {"labels": np.array([1, 2] * 4)})
    splits = {"trnid": [1, 2], "valid": [3, 4], "tstid": [5, 6, 7, 8]}
    savemat(folder / "setid.mat", {split: np.array(numbers) for split, numbers in splits.items()})
    for number in range(1, 9):
        picture(folder / "jpg" / f"image_{number:05}.jpg", number)


def fgvc_aircraft(root: Path) -> None:
    data = root / "fgvc-aircraft-2013b/data"
    text(data / "variants.txt", "737-700", "BAE 146-200")
    text(data / "manufacturers.txt", "BAE", "Boeing")
    for split, first in (("trainval", 1), ("test", 3)):
        boeing, bae = f"{first:07}", f"{first + 1:07}"
        text(data / f"images_variant_{split}.txt", f"{boeing} 737-700", f"{bae} BAE 146-200")
        text(data / f"images_manufacturer_{split}.txt", f"{bae} BAE", f"{boeing} Boeing")  # in another order
        for number, name in enumerate((boeing, bae)):
            picture(data / "images" / f"{name}.jpg", first + number)


def caltech101(root: Path) -> None:
    folder = root / "caltech101/101_ObjectCategories"
    for k, name in enumerate(("BACKGROUND_Google", "Faces_easy", "accordion")):
        for number in range(1, 5):
            picture(folder / name / f"image_{number:04}.jpg", 10 * k + number)
    (root / "caltech101/Annotations").mkdir()


def cub200(root: Path) -> None:
    folder = root / "CUB_200_2011"
    names = ("001.Black_footed_Albatross", "002.Crested_Auklet")
    paths = [f"{name}/{name[4:]}_{i:04}.jpg" for name in names for i in (1, 2)]
    text(folder / "images.txt", *(f"{n} {path}" for n, path in enumerate(paths, 1)))
    text(folder / "image_class_labels.txt", "1 1", "2 1", "3 2", "4 2")
    text(folder / "train_test_split.txt", "1 1", "2 0", "3 0", "4 1")
    text(folder / "classes.txt", "1 001.Black_footed_Albatross", "2 002.Crested_Auklet")
    for number, path in enumerate(paths):
        picture(folder / "images" / path, number)


SYNSETS = ("n01532829", "n02110063", "n03998194")


def mini_imagenet(root: Path) -> None:
    for k, (split, synset) in enumerate(zip(("train", "val", "test"), SYNSETS, strict=True)):
        for number in range(5):
            picture(root / split / synset / f"{synset}_{number}.jpg", 10 * k + number)


def mini_imagenet_lists(root: Path) -> None:
    for k, (split, synset) in enumerate(zip(("train", "val", "test"), SYNSETS, strict=True)):
        names = [f"{synset}{number:08}.jpg" for number in range(5)]
        pd.DataFrame({"filename": names, "label": synset}).to_csv(root / f"{split}.csv", index=False)
        for number, name in enumerate(names):
            picture(root / "images" / name, 10 * k + number)


MINIATURES: dict[str, Callable[[Path], None]] = {
    "stanford_cars": stanford_cars,
    "oxford_pets": oxford_pets,
    "dtd": dtd,
    "flowers102": flowers102,
    "fgvc_aircraft": fgvc_aircraft,
    "caltech101": caltech101,
    "cub200": cub200,
    "mini_imagenet": mini_imagenet,
}
