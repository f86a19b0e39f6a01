"""Accuracy, its spread over seeds, the gap between the arms and how sure it is, and what a question tells."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.stats import binomtest
from sklearn.metrics import f1_score

BOOTSTRAP_SEED = 0
INTERVAL_PERCENT = (2.5, 97.5)
NO_VARIANCE = 1e-12  # below it only float rounding is left


@dataclass(frozen=True)
class Comparison:
    """Both arms of one model on one split: an accuracy a seed, in percent (NaN without images)."""

    baseline: Float[np.ndarray, " seeds"]
    makd: Float[np.ndarray, " seeds"]
    gap_low: float
    gap_high: float
    p_value: float

    @property
    def gap(self) -> Float[np.ndarray, " seeds"]:
        """Percentage points, seed by seed: the arms of a seed share their class initialisation and data order."""
        return np.asarray((self.makd - self.baseline).round(9))  # no 7e-15 where they are equal


def correct(
    class_scores: Float[np.ndarray, "images classes"], labels: Int[np.ndarray, " images"]
) -> Bool[np.ndarray, " images"]:
    """Whether the argmax over the class outputs, and over nothing else, is the label."""
    return np.asarray(class_scores.argmax(axis=1) == labels)


def compare_arms(
    baseline: Bool[np.ndarray, "seeds images"], makd: Bool[np.ndarray, "seeds images"], samples: int
) -> Comparison:
    """Compare two arms that answered the same images, given what each seed got right."""
    low, high = gap_interval(baseline, makd, samples)
    p_value = paired_p_value(baseline, makd)
    return Comparison(accuracy_percent(baseline), accuracy_percent(makd), low, high, p_value)


def accuracy_percent(right: Bool[np.ndarray, "seeds images"]) -> Float[np.ndarray, " seeds"]:
    if right.shape[1] == 0:
        return np.full(right.shape[0], np.nan)
    return np.asarray(100 * right.mean(axis=1))


def gap_interval(
    baseline: Bool[np.ndarray, "seeds images"], makd: Bool[np.ndarray, "seeds images"], samples: int
) -> tuple[float, float]:
    """Paired 95 % bootstrap interval, over images, of the mean over seeds of the gap, in percentage points.

    It says how far the gap hangs on which images were drawn for the split. It does not cover what another seed would
    do: that is the standard deviation over seeds. The seeds of an image are drawn together.
    """
    n_seeds, n_images = baseline.shape
    if n_images == 0:
        return np.nan, np.nan
    # An image counts only by its sum over seeds, one of 2 * n_seeds + 1 values. So drawing images with replacement is
    # one multinomial draw over those values: the same distribution, without samples x images indices.
    values, counts = np.unique(makd.astype(int).sum(axis=0) - baseline.astype(int).sum(axis=0), return_counts=True)
    drawn = np.random.default_rng(BOOTSTRAP_SEED).multinomial(n_images, counts / n_images, size=samples)
    low, high = np.percentile(drawn @ values * (100 / (n_seeds * n_images)), INTERVAL_PERCENT)
    return float(low), float(high)


def paired_p_value(baseline: Bool[np.ndarray, "seeds images"], makd: Bool[np.ndarray, "seeds images"]) -> float:
    """Two-sided exact p that the arms are right equally often: McNemar's test, with one seed, over the images.

    With several seeds the image stays the unit, for its seeds are not independent: of the images on which one arm is
    right in more seeds than the other, are as many for makd as for the baseline (sign test)? 1 if there are none, NaN
    without images. It says nothing about another seed, as `gap_interval` does not.
    """
    if baseline.shape[1] == 0:
        return np.nan
    difference = makd.sum(axis=0) - baseline.sum(axis=0)
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def macro_f1_percent(predicted: Int[np.ndarray, " images"], labels: Int[np.ndarray, " images"]) -> float:
    """Mean of the F1 of each class that has an image, in percent; NaN without images. Never predicted: an F1 of 0."""
    if len(labels) == 0:
        return np.nan
    return 100 * float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0))


def mean_and_std(values: Float[np.ndarray, " seeds"]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1); the latter is NaN for a single seed."""
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else np.nan


def between_class_share(
    p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]
) -> Float[np.ndarray, " questions"]:
    """Share of a question's variance that its class means explain (eta squared), in [0, 1].

    At 1 the answer says no more than the label does, at 0 nothing about it. NaN answers are left out; the share is NaN
    for a question that is constant or has no answer. With few images a class it is biased upwards, as R squared is.
    """
    between, total = variances(p_yes, labels)
    return np.asarray(np.divide(between, total, out=np.full(len(total), np.nan), where=total > NO_VARIANCE))


def most_telling(p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]) -> int:
    """The question whose answers differ most from class to class: greatest variance of the class means."""
    between, _ = variances(p_yes, labels)
    return int(np.nan_to_num(between, nan=-1).argmax())


def variances(
    p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]
) -> tuple[Float[np.ndarray, " questions"], Float[np.ndarray, " questions"]]:
    """Each question's variance of the class means (weighted by answers), and its whole variance."""
    answers = pd.DataFrame(p_yes.astype(np.float64))
    class_means = answers.groupby(labels).transform("mean").where(answers.notna())
    between = ((class_means - answers.mean()) ** 2).mean()
    return between.to_numpy(dtype=np.float64), answers.var(ddof=0).to_numpy(dtype=np.float64)
