"""How far two sets of yes/no answers agree: the student's with its teacher's, the teacher's with the truth."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import rel_entr
from sklearn.metrics import roc_auc_score

from makd.errors import UserError

EPSILON = 1e-6
"""Probabilities are kept this far from 0 and 1 where a logarithm is taken: float32 sigmoids reach both."""


@dataclass(frozen=True)
class Agreement:
    """A student's answers beside its teacher's. A question that the teacher never answered counts nowhere."""

    auc: Float[np.ndarray, " questions"]  # per question; NaN where the teacher says only yes or only no
    abs_diff: float  # mean |student - teacher| of P(yes), over the answered pairs
    kl_nats: float  # mean KL(teacher || student) = BCE minus the teacher's entropy: 0 for a perfect student


def agreement(
    student: Float[np.ndarray, "images questions"], teacher: Float[np.ndarray, "images questions"]
) -> Agreement:
    """Compare P(yes) of the same images and questions; NaN of the teacher is left out."""
    answered = ~np.isnan(teacher)
    p, q = teacher[answered].astype(np.float64), student[answered].astype(np.float64)
    if len(p) == 0:
        return Agreement(question_auc(student, teacher), np.nan, np.nan)
    inside = q.clip(EPSILON, 1 - EPSILON)
    kl = rel_entr(p, inside) + rel_entr(1 - p, 1 - inside)
    return Agreement(question_auc(student, teacher), float(np.abs(p - q).mean()), float(kl.mean()))


def question_auc(
    scores: Float[np.ndarray, "images questions"], reference: Float[np.ndarray, "images questions"]
) -> Float[np.ndarray, " questions"]:
    """`auc` of each column: "yes" is a reference above 0.5; pairs with a NaN on either side are left out."""
    both = ~np.isnan(scores) & ~np.isnan(reference)
    columns = range(scores.shape[1])
    return np.array([auc(scores[both[:, i], i], reference[both[:, i], i] > 0.5) for i in columns], dtype=np.float64)


def auc(scores: Float[np.ndarray, " images"], positive: Bool[np.ndarray, " images"]) -> float:
    """Chance that a positive image scores above a negative one, ties counted half; NaN if either side is empty."""
    if positive.all() or not positive.any():
        return np.nan
    return float(roc_auc_score(positive, scores))


def question_accuracy(
    p_yes: Float[np.ndarray, "images questions"], truth: Float[np.ndarray, "images questions"]
) -> Float[np.ndarray, " questions"]:
    """Percent of a question's images answered rightly ("yes" above 0.5); NaN where nothing can be compared."""
    both = ~np.isnan(p_yes) & ~np.isnan(truth)
    right = ((p_yes > 0.5) == (truth > 0.5)) & both
    n = both.sum(axis=0)
    return np.asarray(np.divide(100.0 * right.sum(axis=0), n, out=np.full(len(n), np.nan), where=n > 0))


def mean_or_nan(values: Float[np.ndarray, "..."]) -> float:
    """Mean of the values that are numbers; NaN without any."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else np.nan


def true_answers(
    facts_file: Path, attributes_file: Path, paths: pd.Series, questions: list[str]
) -> Float[np.ndarray, "images questions"]:
    """The truth, where the dataset knows it: 1 yes, 0 no, NaN for a question or an image that the files do not cover.

    The JSON of `facts_file` maps a question's text to the name of a fact, or to "not " and the name. The Parquet of
    `attributes_file` has a column `path`, as in the manifest, and a bool column a fact.

    Raises:
        UserError: a question names a fact that the attributes do not have.
    """
    fact_of: dict[str, str] = json.loads(facts_file.read_text(encoding="utf-8"))
    facts = pd.read_parquet(attributes_file).drop_duplicates("path").set_index("path")
    truth = np.full((len(paths), len(questions)), np.nan)
    for column, question in enumerate(questions):
        if question not in fact_of:
            continue
        name = fact_of[question].removeprefix("not ")
        if name not in facts:
            raise UserError(
                f"{facts_file} maps {question!r} to the fact {name!r}, which {attributes_file} does not have; "
                "mend the name, or run: dvc repro prepare_dataset"
            )
        holds = facts[name].astype(float).reindex(paths).to_numpy()
        truth[:, column] = 1 - holds if fact_of[question].startswith("not ") else holds
    return truth
