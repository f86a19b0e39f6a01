"""A tiny dataset in COCO's format, with all of its traps, and params for a detector that is trained in a second."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.torch import save_file

from makd.detection_recipe import DetectorName, DetectorRecipe
from makd.detection_set import DetectionSet, read_set
from makd.detectors import build_detector, plain_state
from makd.files import write_json
from makd.params import read_params, validate
from makd.runtime import Runtime
from makd.tensors import contiguous
from stages.prepare_detection import Params, prepare_detection

DETECTION = Path("pipelines/detection").resolve()
RUNTIME = Runtime(device="cpu", workers=0, progress=False)
MODEL: DetectorName = "mobilenet_v3_small"
CATEGORIES = {90: "zebra", 1: "auk", 5: "owl"}
"""With gaps, and not in the order of their ids."""
COLOURS = {90: (240, 240, 240), 1: (200, 40, 40), 5: (40, 200, 40)}
QUESTIONS = ["Is there red?", "Is it dark?"]
TABLES = ("pictures", "boxes", "categories")
PX = 64
TINY = {
    "short_px": [PX],
    "long_px": 96,
    "iterations": 4,
    "batch_size": 2,
    "milestones": [3],
    "warmup": 2,
    "log_every": 2,
    "anchor_px": [16, 24, 32, 48, 64],
    "fpn_channels": 8,
    "head_channels": 16,
    "proposals_train": 20,
    "proposals_test": 20,
}


def detection_params(**changes: Any) -> dict[str, Any]:
    """The default's, for the dataset that `write_dataset` writes."""
    params = read_params(DETECTION / "params.yaml")
    params["train_detector"] |= TINY
    parts = {split: {"annotations": f"{split}.json", "images": split} for split in ("train", "test")}
    params |= {"dataset": "coco", "models": [MODEL], "seeds": [0], "n_questions": len(QUESTIONS), "alpha": 2.0}
    params["prepare_detection"] |= {"root": "set", **parts}
    return params | {"runtime": RUNTIME.model_dump()} | changes


def recipe(**changes: Any) -> DetectorRecipe:
    return validate(DetectorRecipe, detection_params()["train_detector"] | changes)


def write_dataset(root: Path = Path("set")) -> None:
    """Five training and three test pictures, of two sizes, one or two objects each, and the traps."""
    for split, count in (("train", 5), ("test", 3)):
        rng = np.random.default_rng(count)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        (root / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            width, height = (PX, PX) if number % 2 else (96, PX)
            pixels = rng.integers(60, 100, (height, width, 3), dtype=np.uint8)
            for category in list(CATEGORIES)[: 1 + number % 2]:
                left, top = (int(value) for value in rng.integers(0, 24, 2))
                pixels[top : top + 28, left : left + 32] = COLOURS[category]
                box = {"image_id": number, "category_id": category, "bbox": [left, top, 32.0, 28.0], "iscrowd": 0}
                annotations.append(box | {"id": len(annotations), "area": 800.0})  # from 0, another trap
            name = f"{number}.png"
            Image.fromarray(pixels).save(root / split / name)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
        add_traps(root / split, images, annotations)
        categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))


def add_traps(folder: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    """A picture without boxes (grey), one that lies on its side with a crowd, and a box without an area."""
    first = len(images)
    grey = {"id": first, "file_name": "grey.png", "width": PX, "height": PX}
    Image.fromarray(np.full((PX, PX), 90 + first, np.uint8)).save(folder / "grey.png")
    pixels = np.full((PX, 96, 3), 80 + first, np.uint8)
    pixels[8:36, 60:92] = COLOURS[5]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "sideways.png", exif=exif.tobytes())
    sideways = {"id": first + 1, "file_name": "sideways.png", "width": 96, "height": PX}  # as stored
    images += [grey, sideways]
    known = {"image_id": first + 1, "iscrowd": 0}
    annotations.append(known | {"id": 100, "category_id": 5, "bbox": [60.0, 8.0, 32.0, 28.0], "area": 800.0})
    annotations.append(known | {"id": 101, "category_id": 5, "bbox": [0.0, 0.0, 40.0, 40.0], "iscrowd": 1})
    annotations.append(known | {"id": 102, "category_id": 1, "bbox": [10.0, 10.0, 0.0, 5.0]})


def prepare(params: dict[str, Any] | None = None) -> dict[str, Path]:
    """The tables of `write_dataset`, in the working directory."""
    write_dataset()
    known = {key: value for key, value in (params or detection_params()).items() if key in Params.model_fields}
    names = (*TABLES, "manifest", "shown", "given_answers")
    paths = {name: Path(f"{name}.parquet") for name in names}
    prepare_detection(validate(Params, known), RUNTIME, **paths)
    return paths


def tables_of(split: str) -> DetectionSet:
    """What `prepare` wrote of a split."""
    return read_set(*[Path(f"{name}.parquet") for name in TABLES]).of(split)


def write_answers(manifest: Path = Path("manifest.parquet"), path: Path = Path("aspects.parquet")) -> None:
    """P(yes), with gaps."""
    rows = pd.read_parquet(manifest)
    answers = np.random.default_rng(0).random((len(rows), len(QUESTIONS)), dtype=np.float32)
    answers[1, 0] = np.nan
    pd.concat([rows, pd.DataFrame(answers, columns=QUESTIONS)], axis=1).to_parquet(path)


def write_detector(folder: Path, *, pretrained: bool = False) -> None:
    """Untrained weights and config.json, as `train_detector` leaves them."""
    scratch = recipe()
    state = plain_state(build_detector(MODEL, 2, 3, scratch, seed=0))
    if pretrained:  # frozen batch normalisation counts no batches
        state = type(state)((name, one) for name, one in state.items() if "num_batches" not in name)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(contiguous(state), folder / "model.safetensors")
    params = {"train_detector": scratch.model_dump(mode="json") | {"pretrained": pretrained}, "alpha": 1.0}
    config = {"model": MODEL, "arm": "makd", "seed": 0, "categories": ["auk", "owl"], "questions": [], "params": params}
    write_json(config, folder / "config.json")
