"""Published datasets in miniature: the layout of their archives, with few and tiny pictures."""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Made = Mapping[str, tuple[str, str | None]]
"""Class and split of each picture, by its path below the root."""

PER_SPLIT = 2


def jpeg(path: Path, numbers: Iterator[int]) -> None:
    """A picture like no other of the same `numbers`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = next(numbers)
    Image.new("RGB", (8, 8), (number % 16 * 16, number // 16 % 16 * 16, 128)).save(path)


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def make_stanford_cars(root: Path) -> Made:
    names, numbers, made = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012"], count(), {}
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.array(names, dtype=object)})
    lists = {"train": base / "devkit" / "cars_train_annos.mat", "test": base / "cars_test_annos_withlabels.mat"}
    for split, file in lists.items():
        annotations = [(label, f"{k + label * PER_SPLIT:05d}.jpg") for label in (1, 2) for k in range(PER_SPLIT)]
        savemat(file, {"annotations": np.array(annotations, dtype=[("class", np.uint8), ("fname", object)])})
        for label, name in annotations:
            path = f"stanford_cars/cars_{split}/{name}"
            jpeg(root / path, numbers)
            made[path] = (names[label - 1], split)
    return made


def make_oxford_pets(root: Path) -> Made:
    names = {"Abyssinian": "Abyssinian", "american_pit_bull_terrier": "American Pit Bull Terrier"}
    numbers, made = count(), {}
    for official, split in (("trainval", "train"), ("test", "test")):
        lines = []
        for label, (stem, name) in enumerate(names.items(), start=1):
            for k in range(PER_SPLIT):
                image = f"{stem}_{k + (10 if split == 'test' else 0)}"
                lines.append(f"{image} {label} {label} 1")
                jpeg(root / f"oxford-iiit-pet/images/{image}.jpg", numbers)
                made[f"oxford-iiit-pet/images/{image}.jpg"] = (name, split)
        write_lines(root / f"oxford-iiit-pet/annotations/{official}.txt", lines)
    return made


def make_dtd(root: Path, fold: int = 1) -> Made:
    """Fold 2 has the splits of fold 1 in another order."""
    numbers, made = count(), dict[str, tuple[str, str | None]]()
    splits = ("train", "val", "test")
    for k in range(len(splits)):
        images = [f"{name}/{name}_{k:04d}{n}.jpg" for name in ("banded", "zigzagged") for n in range(PER_SPLIT)]
        for image in images:
            jpeg(root / "dtd/dtd/images" / image, numbers)
        for other in (1, 2):
            named = splits[(k + other - 1) % 3]
            write_lines(root / f"dtd/dtd/labels/{named}{other}.txt", images)
            if other == fold:
                made |= {f"dtd/dtd/images/{image}": (image.split("/")[0], named) for image in images}
    return made


def make_flowers102(root: Path) -> Made:
    names = {1: "pink primrose", 60: "pink-yellow dahlia"}
    numbers, made = count(), {}
    base = root / "flowers-102"
    base.mkdir(parents=True)
    images = {"train": range(1, 5), "val": range(5, 9), "test": range(9, 13)}
    labels = [1, 60] * 6
    savemat(base / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    official = {"train": "trnid", "val": "valid", "test": "tstid"}
    savemat(base / "setid.mat", {official[split]: np.array([list(ids)]) for split, ids in images.items()})
    for split, ids in images.items():
        for image in ids:
            path = f"flowers-102/jpg/image_{image:05d}.jpg"
            jpeg(root / path, numbers)
            made[path] = (names[labels[image - 1]], split)
    return made


def make_fgvc_aircraft(root: Path) -> Made:
    makers = {"737-700": "Boeing", "Cessna 172": "Cessna", "F/A-18": "McDonnell Douglas"}
    names = {"737-700": "Boeing 737-700", "Cessna 172": "Cessna 172", "F/A-18": "McDonnell Douglas F/A-18"}
    data, numbers, ids, made = root / "fgvc-aircraft-2013b/data", count(), count(34309), {}
    write_lines(data / "variants.txt", list(makers))
    write_lines(data / "manufacturers.txt", sorted(set(makers.values())))
    for split in ("train", "val", "test"):
        images = [(f"{next(ids):07d}", variant) for variant in makers for _ in range(PER_SPLIT)]
        write_lines(data / f"images_variant_{split}.txt", [f"{image} {variant}" for image, variant in images])
        write_lines(data / f"images_manufacturer_{split}.txt", [f"{image} {makers[name]}" for image, name in images])
        for image, variant in images:
            jpeg(data / "images" / f"{image}.jpg", numbers)
            made[f"fgvc-aircraft-2013b/data/images/{image}.jpg"] = (names[variant], split)
    return made


def make_caltech101(root: Path) -> Made:
    numbers, made = count(), {}
    for folder in ("BACKGROUND_Google", "Faces", "Faces_easy", "wild_cat"):
        for k in range(1, 5):
            path = f"caltech101/101_ObjectCategories/{folder}/image_{k:04d}.jpg"
            jpeg(root / path, numbers)
            if folder != "BACKGROUND_Google":
                made[path] = (folder.replace("_", " "), None)
    return made


def make_cub200(root: Path) -> Made:
    classes = {"001.Black_footed_Albatross": "Black footed Albatross", "002.Laysan_Albatross": "Laysan Albatross"}
    base, numbers, ids, made = root / "CUB_200_2011", count(), count(1), {}
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for label, (folder, name) in enumerate(classes.items(), start=1):
        for k in range(2 * PER_SPLIT):
            image, split = f"{folder}/{folder[4:]}_{k:04d}.jpg", "train" if k % 2 else "test"
            jpeg(base / "images" / image, numbers)
            made[f"CUB_200_2011/images/{image}"] = (name, split)
            values = (image, str(label), str(k % 2))
            for (_, lines), value, number in zip(lists.items(), values, [next(ids)] * 3, strict=True):
                lines.append(f"{number} {value}")
    for name, lines in lists.items():
        write_lines(base / f"{name}.txt", lines)
    write_lines(base / "classes.txt", [f"{label} {folder}" for label, folder in enumerate(classes, start=1)])
    return made


WNIDS = {"n01532829": "house finch", "n02110063": "malamute", "n03998194": "prayer rug"}


def make_mini_imagenet(root: Path) -> Made:
    """As CSVs; each meta-split has classes of its own."""
    numbers, made = count(), {}
    for split, (wnid, name) in zip(("train", "val", "test"), WNIDS.items(), strict=True):
        images = [f"{wnid}{k:08d}.jpg" for k in range(5)]
        write_lines(root / f"{split}.csv", ["filename,label", *(f"{image},{wnid}" for image in images)])
        for image in images:
            jpeg(root / "images" / image, numbers)
            made[f"images/{image}"] = (name, None)
    return made


MINIATURES = {
    "stanford_cars": make_stanford_cars,
    "oxford_pets": make_oxford_pets,
    "dtd": make_dtd,
    "flowers102": make_flowers102,
    "fgvc_aircraft": make_fgvc_aircraft,
    "caltech101": make_caltech101,
    "cub200": make_cub200,
    "mini_imagenet": make_mini_imagenet,
}
