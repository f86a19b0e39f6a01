"""What is known of a run, for its model card; what the files here do not say is None, and nothing is guessed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from makd.errors import UserError
from makd.manifest import SPLITS, read_manifest
from makd.metrics import compare_arms
from makd.params import PARAMS_FILE, read_params
from makd.questions import read_file
from makd.trained_run import TrainedRun, read_predictions

BOOTSTRAP_SAMPLES = 10_000


@dataclass(frozen=True)
class Accuracy:
    """Of one split, in percent, with Wilson's 95 % interval over its images."""

    images: int
    percent: float
    low: float
    high: float


@dataclass(frozen=True)
class Gap:
    """To the baseline of the same seed on the same test images: accuracy in percent, the rest in percentage points."""

    baseline: float
    gap: float
    low: float
    high: float


@dataclass(frozen=True)
class Sources:
    """Data and teacher as params.yaml names them at the time of the export; it may have changed since the run."""

    dataset: str | None = None
    backend: str | None = None
    model: str | None = None
    revision: str | None = None
    table: str | None = None


@dataclass(frozen=True)
class RunFacts:
    """`splits` counts the images of the manifest."""

    splits: dict[str, int] | None
    accuracy: dict[str, Accuracy]
    gap: Gap | None
    questions_by: str | None
    sources: Sources


def facts_of(run: TrainedRun, data: Path) -> RunFacts:
    """From the run's folder, its baseline's beside it, and the folder `data` of the pipeline."""
    manifest = manifest_of(run, data)
    return RunFacts(
        splits=None if manifest is None else {split: int((manifest["split"] == split).sum()) for split in SPLITS},
        accuracy={split: of_split for split in ("val", "test") if (of_split := accuracy_on(run, split))},
        gap=gap_to_baseline(run),
        questions_by=author_of(run, data),
        sources=sources_of(data) if manifest is not None else Sources(),
    )


def manifest_of(run: TrainedRun, data: Path) -> pd.DataFrame | None:
    """The manifest, if it is there and is the one that the run was evaluated on."""
    path = data / "manifest.parquet"
    if run.predictions is None or not path.is_file():
        return None
    manifest = read_manifest(path)
    evaluated = manifest[manifest["split"] != "train"]
    return manifest if set(evaluated["image_id"]) == set(run.predictions["image_id"]) else None


def right_on(predictions: pd.DataFrame, split: str) -> pd.Series:
    rows = predictions[predictions["split"] == split].set_index("path").sort_index()
    return rows["predicted"] == rows["class_name"]


def accuracy_on(run: TrainedRun, split: str) -> Accuracy | None:
    if run.predictions is None or (right := right_on(run.predictions, split)).empty:
        return None
    return accuracy_of(int(right.sum()), len(right))


def accuracy_of(n_right: int, n_images: int) -> Accuracy:
    interval = binomtest(n_right, n_images).proportion_ci(method="wilson")
    return Accuracy(n_images, 100 * n_right / n_images, 100 * interval.low, 100 * interval.high)


def gap_to_baseline(run: TrainedRun) -> Gap | None:
    beside = run.folder.resolve().parents[1] / "baseline" / f"seed{run.config.seed}" / "predictions.parquet"
    if run.config.arm != "makd" or run.predictions is None:
        return None
    baseline = read_predictions(beside)
    if baseline is None:
        return None
    makd_right, baseline_right = right_on(run.predictions, "test"), right_on(baseline, "test")
    if makd_right.empty or not makd_right.index.equals(baseline_right.index):
        return None
    first, second = (np.asarray(right, dtype=np.bool_)[None] for right in (baseline_right, makd_right))
    comparison = compare_arms(first, second, samples=BOOTSTRAP_SAMPLES)
    return Gap(float(comparison.baseline[0]), float(comparison.gap[0]), comparison.gap_low, comparison.gap_high)


def author_of(run: TrainedRun, data: Path) -> str | None:
    """The model that wrote the questions, if the file is about these questions."""
    path = data / "questions/selected.json"
    if not run.config.questions or not path.is_file():
        return None
    found = read_file(path)
    texts = [row["text"] for row in found["questions"]][: len(run.config.questions)]
    return str(found["model"]) if texts == list(run.config.questions) else None


def sources_of(data: Path) -> Sources:
    """From the params.yaml beside `data`."""
    try:
        params = read_params(data.resolve().parent / PARAMS_FILE)
    except UserError:
        return Sources()
    extraction: dict[str, Any] = params.get("extract_logits") or {}
    names = ("backend", "model", "revision", "table")
    return Sources(params.get("dataset"), **{name: extraction.get(name) for name in names})
