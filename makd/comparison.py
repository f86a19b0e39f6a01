"""The runs, put side by side: arm with arm on the same images, student with teacher on the same answers."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from makd.agreement import Agreement, agreement, calibration
from makd.errors import UserError
from makd.metrics import Comparison, compare_arms
from makd.runs import EVALUATED_SPLITS, MENDING, Runs

Comparisons = dict[str, dict[str, Comparison]]
"""By model and split."""


def compare_models(runs: Runs, models: tuple[str, ...], seeds: tuple[int, ...], samples: int) -> Comparisons:
    def right(model: str, arm: str, split: str) -> Bool[np.ndarray, "seeds images"]:
        return np.stack([runs[model, arm, seed].correct(split) for seed in seeds])

    return {
        model: {
            split: compare_arms(right(model, "baseline", split), right(model, "makd", split), samples)
            for split in EVALUATED_SPLITS
        }
        for model in models
    }


def student_agreements(
    runs: Runs, models: tuple[str, ...], seeds: tuple[int, ...], teacher: pd.DataFrame
) -> dict[str, list[Agreement]]:
    """By model, one a seed. `teacher` holds P(yes) of the test images in the manifest's order, a column a question.

    Raises:
        UserError: a student learned other questions than the teacher's.
    """
    for model in models:
        for seed in seeds:
            if (learned := runs[model, "makd", seed].questions) != list(teacher.columns):
                raise UserError(
                    f"{model}/makd/seed{seed} learned {len(learned)} questions, not the {len(teacher.columns)} of "
                    f"data/aspects.parquet; {MENDING}"
                )
    p_yes = teacher.to_numpy(dtype=np.float32)
    return {model: [agreement(runs[model, "makd", seed].p_yes("test"), p_yes) for seed in seeds] for model in models}


def calibrations(runs: Runs, models: tuple[str, ...], seeds: tuple[int, ...], teacher: pd.DataFrame) -> pd.DataFrame:
    """`makd.agreement.calibration` of each model, over all its seeds, questions and test images."""
    p_yes = np.concatenate([teacher.to_numpy(dtype=np.float32)] * len(seeds))
    tables = []
    for model in models:
        student = np.concatenate([runs[model, "makd", seed].p_yes("test") for seed in seeds])
        tables.append(calibration(student, p_yes).assign(model=model))
    return pd.concat(tables, ignore_index=True)[["model", "tenth", "student", "teacher", "answers"]]
