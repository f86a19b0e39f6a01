"""A made-up dataset with its answers and trained students on disk, for the tests of what is made of them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from makd.aspects import KEY_COLUMNS
from makd.files import write_json, write_parquet
from makd.manifest import read_manifest, write_manifest
from makd.pictures import image_id
from makd.trained_run import RunConfig

ARM_SKILL = {"baseline": 1.0, "makd": 2.0}


def png(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(file, "PNG")
    return file.getvalue()


@dataclass
class MadeUpRuns:
    """Files below `root`, all drawn from one seed; nothing is trained. The makd arm is made to be the better one."""

    root: Path
    models: tuple[str, ...] = ("resnet10t", "mobilenetv3_small_050")
    seeds: tuple[int, ...] = (0, 1)
    n_classes: int = 3
    n_questions: int = 4
    n_val: int = 4  # a class
    n_test: int = 12  # a class
    n_epochs: int = 4

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.manifest = self.root / "data/manifest.parquet"
        self.aspects = self.root / "data/aspects.parquet"
        self.runs = self.root / "models"
        self.classes = [f"class {label:03}" for label in range(self.n_classes)]
        self.questions = [f"Does the bird have feature number {number}?" for number in range(self.n_questions)]

    def write(self) -> "MadeUpRuns":
        self.write_manifest()
        self.write_answers()
        for model in self.models:
            for arm in ARM_SKILL:
                for seed in self.seeds:
                    self.write_run(model, arm, seed)
        return self

    def write_manifest(self) -> None:
        sizes = {"train": 3, "val": self.n_val, "test": self.n_test}
        rows = [
            # Paths in another order than the manifest's, which goes by label first.
            {"path": f"images/{split}/{i}/{name}.png", "split": split, "label": label, "class_name": name}
            for split, size in sizes.items()
            for label, name in enumerate(self.classes)
            for i in range(size)
        ]
        table = pd.DataFrame(rows)
        self.pictures = {path: png((number % 256, number // 256, 200)) for number, path in enumerate(table["path"])}
        write_manifest(table.assign(image_id=list(map(image_id, self.pictures.values()))), self.manifest)
        self.images = read_manifest(self.manifest)

    def write_pictures(self, folder: Path) -> None:
        """All that the manifest means, bluish; without them the pictures are gone."""
        for path, content in self.pictures.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    def write_answers(self) -> None:
        """P(yes) near what is usual for the class, as a teacher's would be."""
        usual = self.rng.beta(0.4, 0.4, (self.n_classes, self.n_questions))[self.images["label"]]
        self.p_yes = (usual + self.rng.normal(0, 0.12, usual.shape)).clip(0.001, 0.999).astype(np.float32)
        self.save_answers()

    def save_answers(self) -> None:
        answers = pd.DataFrame(self.p_yes, columns=self.questions)
        write_frame(pd.concat([self.images[list(KEY_COLUMNS)], answers], axis=1), self.aspects)

    def folder(self, model: str, arm: str, seed: int) -> Path:
        return self.runs / model / arm / f"seed{seed}"

    def write_run(self, model: str, arm: str, seed: int) -> None:
        folder = self.folder(model, arm, seed)
        rows = self.images[self.images["split"] != "train"]
        scores = self.rng.normal(0, 1, (len(rows), self.n_classes))
        scores[np.arange(len(rows)), rows["label"]] += ARM_SKILL[arm]
        values = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        columns = [f"class: {name}" for name in self.classes]
        if arm == "makd":
            p_yes = self.p_yes[rows.index] + self.rng.normal(0, 0.15, (len(rows), self.n_questions))
            values = np.hstack([values, p_yes.clip(0.01, 0.99)])
            columns += [f"aspect: {question}" for question in self.questions]
        rows = rows.assign(predicted=[self.classes[label] for label in scores.argmax(axis=1)])
        outputs = pd.DataFrame(values.astype(np.float32), columns=columns, index=rows.index)
        write_frame(pd.concat([rows, outputs], axis=1), folder / "predictions.parquet")
        write_json({"model": model, "arm": arm, "seed": seed, "classes": self.classes}, folder / "config.json")
        self.history(arm).to_csv(folder / "history.csv", index=False)

    def history(self, arm: str) -> pd.DataFrame:
        epoch = np.arange(1, self.n_epochs + 1)
        fall = np.exp(-2 * epoch / self.n_epochs) + self.rng.normal(0, 0.02, self.n_epochs)
        history = pd.DataFrame({"epoch": epoch, "lr": 0.05, "train_loss": 3 * fall, "train_class_loss": 2.5 * fall})
        history["train_aspect_loss"] = 0.4 + 0.2 * fall if arm == "makd" else 0.0
        history["train_accuracy"] = 0.9 - 0.8 * fall
        history["val_accuracy"] = (0.6 if arm == "makd" else 0.55) - 0.4 * fall
        if arm == "makd":
            history["val_aspect_bce"] = 0.45 + 0.2 * fall
        return history


def run_config(**changes: Any) -> RunConfig:
    values: dict[str, Any] = {"model": "resnet10t", "model_args": {}, "arm": "makd", "seed": 1}
    values |= {"classes": ("auk", "owl"), "questions": ("Does it hoot?",), "image_px": 48, "resize_px": 56}
    values |= {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    return RunConfig(**values | {"params": {"train_fraction": 0.5, "aspect_targets": "mllm", "kd": None}} | changes)


def write_frame(table: pd.DataFrame, path: Path) -> None:
    write_parquet(pa.Table.from_pandas(table, preserve_index=False), path)
