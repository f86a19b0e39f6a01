"""The images, labels and targets of one training run, from the manifest and the aspect table."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float32

from makd.aspects import p_yes_matrix
from makd.errors import UserError
from makd.examples import Examples, TrainingExamples
from makd.recipe import Recipe
from makd.targets import AspectTargets, aspect_targets, keep_fraction

MUCH_MISSING = 0.05
"""A greater share of missing answers is warned of."""


class RunData(NamedTuple):
    training: TrainingExamples
    validation: Examples
    test: Examples
    trained_on: pd.Series  # image_id of each training example


def load_run_data(
    rows: pd.DataFrame,
    aspects: Path | None,
    recipe: Recipe,
    *,
    train_fraction: float,
    targets: AspectTargets = "mllm",
    seed: int,
    workers: int,
) -> RunData:
    """Training, validation and test images; `train_fraction` and `targets` touch the training images alone.

    Args:
        rows: the manifest.
        aspects: the answers; None in an arm that knows of no question, Q is 0.
        recipe: sizes of the pictures.
        train_fraction: share of each class's training images.
        targets: what the aspect outputs are trained towards.
        seed: of the fraction and the random targets.
        workers: threads that decode.

    Raises:
        UserError: a picture that cannot be read or has changed; not one training answer.
    """
    split = {name: rows[rows["split"] == name] for name in ("train", "val", "test")}
    kept = is_kept(split["train"], train_fraction, seed)
    trained_on = split["train"][kept]
    p_yes = training_targets(trained_on, aspects, targets, seed)
    training = TrainingExamples.load(split["train"], kept, p_yes, stored_px=recipe.stored_px, workers=workers)
    validation, test = (
        Examples.load(
            split[name],
            answers_of(split[name], aspects),
            resize_px=recipe.resize_px,
            image_px=recipe.image_px,
            workers=workers,
        )
        for name in ("val", "test")
    )
    return RunData(training, validation, test, trained_on["image_id"])


def is_kept(training: pd.DataFrame, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which of the training rows are trained on."""
    kept: npt.NDArray[np.bool_] = training.index.isin(keep_fraction(training, fraction, seed).index)
    return kept


def answers_of(rows: pd.DataFrame, aspects: Path | None) -> Float32[np.ndarray, "images aspects"]:
    """The teacher's answers about these images."""
    return np.empty((len(rows), 0), np.float32) if aspects is None else p_yes_matrix(aspects, rows["image_id"])


def training_targets(
    rows: pd.DataFrame, aspects: Path | None, targets: AspectTargets, seed: int
) -> Float32[np.ndarray, "images aspects"]:
    """What the aspect outputs are trained towards, for these images."""
    p_yes = answers_of(rows, aspects)
    if aspects is not None:
        p_yes = aspect_targets(p_yes, rows["label"].to_numpy(), targets, seed)
        check_answered(p_yes, aspects)
    return p_yes


def check_answered(p_yes: Float32[np.ndarray, "images aspects"], aspects: Path) -> None:
    """Say how many targets are missing, and refuse to train on none: that would be the baseline under another name."""
    missing = int(np.isnan(p_yes).sum())
    share = missing / p_yes.size
    if share == 1:
        raise UserError(
            f"{aspects} has no answer about any of the {len(p_yes)} training images, and the makd arm learns from "
            "answers; run dvc repro --force extract_logits, which names the images that it cannot read"
        )
    if missing:
        warning = "warning: " if share > MUCH_MISSING else ""
        print(f"{warning}{missing} of the {p_yes.size} training answers are missing ({share:.1%})", file=sys.stderr)
