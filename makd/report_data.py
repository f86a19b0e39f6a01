"""All that the report is drawn from, read once."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.aspects import asked_questions, p_yes_matrix
from makd.csv_tables import read_csv
from makd.embedding_table import Embeddings, read_embeddings
from makd.errors import UserError
from makd.manifest import class_names, read_manifest
from makd.runs import Runs, read_runs
from makd.tables import class_means

TABLES = (
    "accuracy",
    "runs",
    "classes",
    "confusions",
    "agreement",
    "calibration",
    "faithfulness",
    "questions",
    "training",
)
"""The CSV files of `evaluate`."""
MENDING = "run: dvc repro --force evaluate"
Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ReportData:
    """What `evaluate` found, and what was said of each image: by the teacher, and by the students of the first seed."""

    images: pd.DataFrame
    teacher: pd.DataFrame  # P(yes), a row an image, a column a question; NaN where there is no answer
    runs: Runs
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    tables: dict[str, pd.DataFrame]
    metrics: dict[str, Any]
    embeddings: Embeddings

    @property
    def questions(self) -> list[str]:
        return list(self.teacher.columns)

    @cached_property
    def class_names(self) -> list[str]:
        return class_names(self.images)

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.images["label"], dtype=np.int64)

    @cached_property
    def is_test(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.images["split"] == "test")

    @property
    def test_images(self) -> pd.DataFrame:
        return self.images[self.is_test]

    @property
    def test_labels(self) -> npt.NDArray[np.int64]:
        return self.labels[self.is_test]

    @cached_property
    def teacher_on_test(self) -> Values:
        return np.asarray(self.teacher)[self.is_test]

    @cached_property
    def class_means(self) -> pd.DataFrame:
        """The teacher's mean P(yes), a row a class, a column a question."""
        return class_means(self.teacher, self.labels, self.class_names)

    @property
    def n_asked(self) -> int:
        """Images about which the teacher said anything."""
        return int(self.teacher.notna().any(axis=1).sum())

    def p_class(self, model: str, arm: str) -> Values:
        return self.runs[model, arm, self.seeds[0]].p_class("test")

    def p_yes(self, model: str) -> Values:
        return self.runs[model, "makd", self.seeds[0]].p_yes("test")


def read_report_data(
    *, manifest: Path, aspects: Path, runs: Path, tables: Path, models: tuple[str, ...], seeds: tuple[int, ...]
) -> ReportData:
    """From the folder `tables` what `evaluate` wrote, the rest from where its stages left it.

    Raises:
        UserError: a file is missing, or a run is not of these images and classes.
    """
    images = read_manifest(manifest)
    return ReportData(
        images=images,
        teacher=pd.DataFrame(p_yes_matrix(aspects, images["image_id"]), columns=asked_questions(aspects)),
        runs=read_runs(runs, images, models, seeds),
        models=models,
        seeds=seeds,
        tables={name: read_csv(tables / f"{name}.csv", MENDING) for name in TABLES},
        metrics=read_metrics(tables / "metrics.json"),
        embeddings=read_embeddings(tables / "embeddings.parquet"),
    )


def read_metrics(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}; {MENDING}") from None
    return found
