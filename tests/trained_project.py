"""A small project with pictures of all kinds and students that were really trained, for the tests of what ships."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from makd.aspects import KEY_COLUMNS
from makd.files import write_json
from makd.manifest import write_manifest
from makd.params import read_params, validate
from makd.pictures import image_id
from makd.runtime import Runtime
from makd.shipped import ShippedStudent
from stages.train import BaselineParams, Params, train

CLASSES = ["auk", "owl", "tit"]
QUESTIONS = ["Does it hoot?", "Is it black and white?", "Is it small?"]
SPLITS = {"train": 4, "val": 2, "test": 6}
RUNTIME = Runtime(device="cpu", workers=0, progress=False)
SMALL = {"channels": [8, 8, 8, 8], "stem_width": 8}


@dataclass(frozen=True)
class TrainedProject:
    """Paths in the manifest are absolute, so that no test has to change its folder."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    def run(self, arm: str = "makd", model: str = "resnet10t") -> Path:
        return self.root / "models" / model / arm / "seed0"

    def predictions(self, arm: str = "makd", model: str = "resnet10t") -> pd.DataFrame:
        table = pd.read_parquet(self.run(arm, model) / "predictions.parquet")
        return table[table["split"] == "test"]


def knowing_one_class(student: ShippedStudent) -> ShippedStudent:
    """The first of CLASSES, and all QUESTIONS."""
    means, outputs = student.class_means, [0, *range(len(CLASSES), len(CLASSES) + len(QUESTIONS))]
    return replace(
        student,
        config=student.config.model_copy(update={"label_names": student.classes[:1], "num_classes": 1}),
        compute=lambda images: student.compute(images)[:, outputs],
        class_means=None if means is None else means[:1],
    )


def picture(rng: np.random.Generator, kind: int, file: Path) -> Path:
    """Saved by what its kind suits: wide, tall, transparent, grey of 16 bits, rotated by EXIF, of a palette."""
    height, width = (40 + 7 * (kind % 3), 40 + 11 * (kind % 4))
    values = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    match kind % 6:
        case 0:
            Image.fromarray(values[:, :, 0].astype(np.uint16) * 256).save(file.with_suffix(".png"))
        case 1:
            alpha = rng.integers(0, 256, (height, width, 1), dtype=np.uint8)
            Image.fromarray(np.concatenate([values, alpha], axis=2)).save(file.with_suffix(".png"))
        case 2:
            Image.fromarray(values).convert("P").save(file.with_suffix(".gif"))
            return file.with_suffix(".gif")
        case 3:
            exif = Image.Exif()
            exif[0x0112] = 6  # to be turned by a quarter
            Image.fromarray(values).save(file.with_suffix(".jpg"), exif=exif)
            return file.with_suffix(".jpg")
        case _:
            Image.fromarray(values).save(file.with_suffix(".png"))
    return file.with_suffix(".png")


def write_data(root: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for split, n in SPLITS.items():
        for i in range(n * len(CLASSES)):
            label = i % len(CLASSES)
            folder = root / "pictures" / split / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            path = picture(rng, i, folder / f"{i:02}")
            rows.append([image_id(path.read_bytes()), str(path), split, label, CLASSES[label]])
    manifest = pd.DataFrame(rows, columns=list(KEY_COLUMNS))
    (root / "data/questions").mkdir(parents=True)
    write_manifest(manifest, root / "data/manifest.parquet")
    answers = rng.random((len(manifest), len(QUESTIONS)), dtype=np.float32)
    answers[3] = np.nan
    pd.concat([manifest, pd.DataFrame(answers, columns=QUESTIONS)], axis=1).to_parquet(root / "data/aspects.parquet")
    rows_of = [{"rank": rank, "id": "", "text": text} for rank, text in enumerate(QUESTIONS, 1)]
    write_json({"model": "an author", "prompt": None, "questions": rows_of}, root / "data/questions/selected.json")


def params_of(model: str, image_px: int, resize_px: int) -> dict[str, Any]:
    params = read_params()
    params["train"] |= {"image_px": image_px, "resize_px": resize_px, "stored_px": resize_px, "epochs": 2}
    params["train"] |= {"batch_size": 6, "milestones": [1], "model_args": {"resnet10t": SMALL}}
    return params | {"n_questions": len(QUESTIONS), "alpha": 4.0, "models": [model], "seeds": [0]}


def train_students(root: Path, model: str = "resnet10t", *, image_px: int = 32, resize_px: int = 37) -> TrainedProject:
    """Both arms of `model`, two epochs each, below `root`, with the data that is there or written now."""
    if not (root / "data").exists():
        write_data(root)
    params = params_of(model, image_px, resize_px)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    project = TrainedProject(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAKD_CACHE", str(root / "cache"))
        patch.delenv("DVC_ROOT", raising=False)
        for kind, arm in ((Params, "makd"), (BaselineParams, "baseline")):
            known = {key: value for key, value in params.items() if key in kind.model_fields}
            train(
                validate(kind, known),
                RUNTIME,
                model=model,
                seed=0,
                manifest=project.data / "manifest.parquet",
                aspects=project.data / "aspects.parquet" if arm == "makd" else None,
                out=project.run(arm, model),
            )
    return project
