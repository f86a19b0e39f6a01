"""How far two sets of yes/no answers agree: the student's with its teacher's, the teacher's with the truth."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import rel_entr
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from makd.errors import UserError
from makd.files import parquet_errors

EPSILON = 1e-6
"""Probabilities are kept this far from 0 and 1 where a logarithm is taken: float32 sigmoids reach both."""
TENTHS = 10


@dataclass(frozen=True)
class Agreement:
    """A student's answers beside its teacher's. A question that the teacher never answered is NaN, and counts nowhere.

    `kl_nats` is the mean of KL(teacher || student): the BCE that is minimised less the teacher's own entropy, so that a
    perfect student has 0, however unsure its teacher is.
    """

    answers: Int[np.ndarray, " questions"]  # that the teacher gave
    auc: Float[np.ndarray, " questions"]  # NaN where the teacher says only yes or only no
    spearman: Float[np.ndarray, " questions"]  # rank correlation; NaN where one of them says always the same
    brier: Float[np.ndarray, " questions"]  # mean squared difference of P(yes)
    kl_nats: Float[np.ndarray, " questions"]
    abs_diff: Float[np.ndarray, " questions"]  # mean |student - teacher| of P(yes)

    def overall(self, values: Float[np.ndarray, " questions"]) -> float:
        """Mean of a measure over all answered pairs of image and question."""
        known = self.answers > 0
        return float(np.average(values[known], weights=self.answers[known])) if known.any() else np.nan


def agreement(
    student: Float[np.ndarray, "images questions"], teacher: Float[np.ndarray, "images questions"]
) -> Agreement:
    """Compare P(yes) of the same images and questions; NaN of the teacher is left out."""
    p, q = teacher.astype(np.float64), student.astype(np.float64)
    inside = q.clip(EPSILON, 1 - EPSILON)
    return Agreement(
        answers=np.asarray((~np.isnan(p)).sum(axis=0)),
        auc=question_auc(student, teacher),
        spearman=question_spearman(student, teacher),
        brier=column_means((q - p) ** 2),
        kl_nats=column_means(rel_entr(p, inside) + rel_entr(1 - p, 1 - inside)),
        abs_diff=column_means(np.abs(q - p)),
    )


def column_means(values: Float[np.ndarray, "images questions"]) -> Float[np.ndarray, " questions"]:
    """Over what is not NaN; NaN for a column of nothing else."""
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    return np.asarray(np.divide(np.where(known, values, 0).sum(axis=0), n, out=np.full(len(n), np.nan), where=n > 0))


def question_spearman(
    student: Float[np.ndarray, "images questions"], teacher: Float[np.ndarray, "images questions"]
) -> Float[np.ndarray, " questions"]:
    """Spearman's rank correlation of each column, over the images that the teacher answered."""
    found = np.full(student.shape[1], np.nan)
    for column, (p, q) in enumerate(zip(teacher.T, student.T, strict=True)):
        p, q = p[~np.isnan(p)], q[~np.isnan(p)]
        if len(p) and np.ptp(p) > 0 and np.ptp(q) > 0:
            found[column] = np.corrcoef(rankdata(p), rankdata(q))[0, 1]
    return found


def calibration(
    student: Float[np.ndarray, "images questions"], teacher: Float[np.ndarray, "images questions"]
) -> pd.DataFrame:
    """A row a tenth of the student's P(yes): its mean `student`, the teacher's mean `teacher`, and the answers in it.

    A calibrated student has equal means. A tenth without answers has NaN means.
    """
    answered = ~np.isnan(teacher)
    p, q = teacher[answered].astype(np.float64), student[answered].astype(np.float64)
    tenth = np.minimum((q * TENTHS).astype(int), TENTHS - 1)
    n = np.bincount(tenth, minlength=TENTHS)
    sums = {"student": np.bincount(tenth, q, TENTHS), "teacher": np.bincount(tenth, p, TENTHS)}
    means = {name: np.divide(of, n, out=np.full(TENTHS, np.nan), where=n > 0) for name, of in sums.items()}
    return pd.DataFrame({"tenth": range(1, TENTHS + 1), **means, "answers": n})


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
    with parquet_errors(attributes_file, "remove its folder, then run: dvc repro prepare_dataset"):
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
