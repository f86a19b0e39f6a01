"""What the training runs left behind, read back and held against the manifest."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from makd.errors import UserError
from makd.manifest import class_names
from makd.metrics import correct

ARMS = ("baseline", "makd")
EVALUATED_SPLITS = ("val", "test")
CLASS_PREFIX, ASPECT_PREFIX = "class: ", "aspect: "
IDENTITY = ["path", "image_id", "label"]
MENDING = "run: dvc repro"


@dataclass(frozen=True)
class Run:
    """One trained student; the rows of `predictions[split]` are those of the manifest's split, in its order."""

    history: pd.DataFrame
    predictions: dict[str, pd.DataFrame]

    def p_class(self, split: str) -> Float[np.ndarray, "images classes"]:
        """Softmax over the classes, which alone decide."""
        rows = self.predictions[split]
        columns = [column for column in rows.columns if column.startswith(CLASS_PREFIX)]
        return np.asarray(rows[columns], dtype=np.float32)

    def predicted(self, split: str) -> Int[np.ndarray, " images"]:
        """The likeliest class of each image, as a label."""
        return np.asarray(self.p_class(split).argmax(axis=1), dtype=np.int64)

    def labels(self, split: str) -> Int[np.ndarray, " images"]:
        return np.asarray(self.predictions[split]["label"], dtype=np.int64)

    def correct(self, split: str) -> Bool[np.ndarray, " images"]:
        return correct(self.p_class(split), self.labels(split))

    @property
    def questions(self) -> list[str]:
        columns = self.predictions["test"].columns
        return [column.removeprefix(ASPECT_PREFIX) for column in columns if column.startswith(ASPECT_PREFIX)]

    def p_yes(self, split: str) -> Float[np.ndarray, "images questions"]:
        columns = [ASPECT_PREFIX + question for question in self.questions]
        return np.asarray(self.predictions[split][columns], dtype=np.float32)


Runs = dict[tuple[str, str, int], Run]
"""By model, arm and seed."""


def read_runs(root: Path, manifest: pd.DataFrame, models: tuple[str, ...], seeds: tuple[int, ...]) -> Runs:
    """Exactly the runs that are asked for, out of `root`/model/arm/seed<k>; older ones may lie beside them.

    Raises:
        UserError: a run is missing, half written, of other classes or images than the manifest's, or diverged.
    """
    return {
        (model, arm, seed): read_run(root / model / arm / f"seed{seed}", manifest)
        for model in models
        for arm in ARMS
        for seed in seeds
    }


def read_run(folder: Path, manifest: pd.DataFrame) -> Run:
    for name in ("config.json", "history.csv", "predictions.parquet"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {MENDING}")
    with damage_named(folder):
        trained = json.loads((folder / "config.json").read_text(encoding="utf-8"))["classes"]
        history = pd.read_csv(folder / "history.csv")
        predictions = pd.read_parquet(folder / "predictions.parquet")
    columns = [column for column in predictions.columns if column.startswith(CLASS_PREFIX)]
    names = class_names(manifest)
    if trained != names or columns != [CLASS_PREFIX + name for name in names]:
        raise UserError(f"{folder} has {len(trained)} classes, other than the manifest's {len(names)}; {MENDING}")
    if not np.isfinite(predictions[columns].to_numpy()).all():
        raise UserError(f"{folder}: class probabilities are not numbers: training diverged; lower train.lr")
    rows = {split: in_manifest_order(predictions, manifest, split, folder) for split in EVALUATED_SPLITS}
    return Run(history, rows)


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """One line for files that are cut short or not what their names say."""
    try:
        yield
    except (ValueError, KeyError, OSError, pa.ArrowException) as error:  # pandas' and json's are ValueErrors
        problem = " ".join(str(error).split())
        raise UserError(f"{folder} holds a damaged file: {problem}; remove it, then {MENDING}") from None


def in_manifest_order(predictions: pd.DataFrame, manifest: pd.DataFrame, split: str, folder: Path) -> pd.DataFrame:
    """The predictions of `split`, one to one with the manifest's rows: no image dropped, added, doubled or changed."""
    expected = manifest[manifest["split"] == split].sort_values(IDENTITY)
    got = predictions[predictions["split"] == split].sort_values(IDENTITY)
    wanted, found = keys(expected), keys(got)
    if wanted != found:
        odd = (Counter(wanted) - Counter(found)) + (Counter(found) - Counter(wanted))
        raise UserError(
            f"{folder / 'predictions.parquet'}: its {len(found)} {split} rows are not the manifest's {len(wanted)}, "
            f"the first that differs is {min(odd)[0]}; {MENDING}"
        )
    return got.set_index(expected.index).sort_index()


def keys(rows: pd.DataFrame) -> list[tuple[str, str, int]]:
    return list(rows[IDENTITY].itertuples(index=False, name=None))
