"""Who tells a student about the classes besides the labels: another classifier, or a multimodal LLM."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn

from makd.augment import normalise
from makd.class_scores import class_scores
from makd.errors import UserError
from makd.kd import Kd
from makd.students import load_student, normalisation, split_logits

SCORES = "scores.parquet"
LEAST = 1e-7
"""A p_yes nearer to 0 or 1 counts as this far from it, so that its logit is finite."""


@runtime_checkable
class ClassTeacher(Protocol):
    """Gives a logit for each class."""

    def logits(
        self, rows: Int64[np.ndarray, " batch"], images: Float[Tensor, "batch 3 px px"]
    ) -> Float[Tensor, "batch classes"]:
        """For the training images `rows`, seen as `images`: the student's own crops, values 0 to 255.

        A row of NaN is an image that the teacher knows nothing about.
        """
        ...


class ClassifierTeacher:
    """A trained classifier, which sees the same crops as the student."""

    def __init__(self, classifier: nn.Module, n_classes: int) -> None:
        self.classifier = classifier.eval().requires_grad_(False)
        self.n_classes = n_classes

    @torch.no_grad()
    def logits(
        self, rows: Int64[np.ndarray, " batch"], images: Float[Tensor, "batch 3 px px"]
    ) -> Float[Tensor, "batch classes"]:
        inputs = normalise(images, *normalisation(self.classifier))
        return split_logits(self.classifier(inputs), self.n_classes)[0]


class ScoresTeacher:
    """Scores of whole pictures, computed once; the crop plays no part."""

    def __init__(self, scores: Float32[Tensor, "images classes"]) -> None:
        self.scores = scores

    def logits(
        self, rows: Int64[np.ndarray, " batch"], images: Float[Tensor, "batch 3 px px"]
    ) -> Float[Tensor, "batch classes"]:
        return self.scores[rows].to(images.device)


def load_teacher(kd: Kd, folder: Path, image_ids: pd.Series, classes: list[str], device: torch.device) -> ClassTeacher:
    """What the teacher arm wrote into `folder`, for these training images.

    Raises:
        UserError: it is of another source.
    """
    wanted = folder / ("model.safetensors" if kd.source == "classifier" else SCORES)
    if not wanted.is_file():
        raise UserError(f"kd.source is {kd.source}, but {wanted} is not there; run: dvc repro train_teacher")
    if kd.source == "classifier":
        classifier, _ = load_student(folder)
        return ClassifierTeacher(classifier.to(device), len(classes))
    return ScoresTeacher(torch.from_numpy(log_odds(class_scores(wanted, image_ids, classes))))


def log_odds(p_yes: Float64[np.ndarray, "images classes"]) -> Float32[np.ndarray, "images classes"]:
    """Of each class's yes, to serve as class logits; NaN stays."""
    p = np.clip(p_yes, LEAST, 1 - LEAST)
    logits: Float32[np.ndarray, "images classes"] = (np.log(p) - np.log1p(-p)).astype(np.float32)
    return logits


def training_scores(zero_shot: Path) -> pa.Table:
    """The zero-shot scores of the training images: those of the others may change without touching a student.

    Raises:
        UserError: there are none.
    """
    table = pq.read_table(zero_shot, filters=[("split", "=", "train")])
    if not len(table):
        raise UserError(
            f"kd.source is mllm, but {zero_shot} has no scores of the training images; "
            "add train to extract_logits.zero_shot_splits"
        )
    return table
