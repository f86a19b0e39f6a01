"""What the aspect outputs are trained towards: the teacher's answers, or a control in their place (paper, table 3b)."""

import hashlib
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from makd.seeding import random_stream

AspectTargets = Literal["mllm", "random", "class_mean", "shuffled"]

PYes = Float32[np.ndarray, "images aspects"]
Labels = Int64[np.ndarray, " images"]
BLOCK_IMAGES = 2**12
"""Images whose targets are drawn together."""


def aspect_targets(p_yes: PYes, labels: Labels, kind: AspectTargets, seed: int) -> PYes:
    """The targets of the training images, in [0, 1]; NaN, no target, where the teacher gave no answer to learn from.

    Args:
        p_yes: the teacher's answers; overwritten, for a second copy may not fit into memory. Rows of training images
            only: a control must not know the test images' answers.
        labels: the classes of the same images.
        kind: "mllm", the answers themselves, or one of the controls, from the least to the most that they tell:
            "random" (neither class nor image), "class_mean" (the class alone), "shuffled" (the class, another image).
            The class mean is a target of the whole class, also of the images that were not asked.
        seed: of the random controls.
    """
    match kind:
        case "mllm":
            return p_yes
        case "random":
            return random_targets(p_yes, seed)
        case "class_mean":
            return class_mean_targets(p_yes, labels)
        case "shuffled":
            return shuffled_targets(p_yes, labels, seed)


def random_targets(p_yes: PYes, seed: int) -> PYes:
    """Sigmoids of Gaussian logits, each question's with the mean and the deviation of the teacher's logits.

    Paper: "Gaussian random logits" with neither mean nor deviation given.
    """
    mean, deviation = np.array([logit_moments(column) for column in p_yes.T]).T
    rng = random_stream(seed, "random targets")
    for start in range(0, len(p_yes), BLOCK_IMAGES):  # all at once takes ten times the memory of the answers
        rows = slice(start, start + BLOCK_IMAGES)
        drawn = mean + rng.standard_normal(p_yes[rows].shape) * deviation
        p_yes[rows] = np.where(np.isnan(p_yes[rows]), np.nan, 1 / (1 + np.exp(-drawn)))
    return p_yes


def logit_moments(p_yes: Float32[np.ndarray, " images"]) -> tuple[float, float]:
    """Mean and standard deviation of the logits of the answers to one question."""
    p = np.clip(p_yes.astype(np.float64), 1e-6, 1 - 1e-6)  # a float32 p_yes can be exactly 0 or 1
    logits = pd.Series(np.log(p) - np.log1p(-p))
    return logits.mean(), logits.std(ddof=0)


def class_mean_targets(p_yes: PYes, labels: Labels) -> PYes:
    """The mean of the answers about the image's class, whether or not one is about the image itself.

    So a few answered images serve their whole class (`extract_logits.images_per_class`). NaN where there is none.
    """
    names, of_image = np.unique(labels, return_inverse=True)
    means = np.full((len(names), p_yes.shape[1]), np.nan, np.float32)
    for column, answers in enumerate(p_yes.T):
        answered = ~np.isnan(answers)
        n = np.bincount(of_image[answered], minlength=len(names))
        sums = np.bincount(of_image[answered], answers[answered], minlength=len(names))
        np.divide(sums, n, out=means[:, column], where=n > 0, casting="same_kind")
    return np.take(means, of_image, axis=0, out=p_yes, mode="clip")  # any other mode buffers the whole


def shuffled_targets(p_yes: PYes, labels: Labels, seed: int) -> PYes:
    """All answers of an image go to another image of its class (or, by chance, to itself) that has answers too."""
    rng = random_stream(seed, "shuffled targets")
    source = np.arange(len(labels))
    answered = ~np.isnan(p_yes).all(axis=1)
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & answered)
        source[rows] = rng.permutation(rows)
    for column in range(p_yes.shape[1]):
        p_yes[:, column] = p_yes[source, column]
    return p_yes


def keep_fraction(rows: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """The same share of every class, at least one image of each, in the order of `rows`.

    Images are ranked by a hash of seed and image_id: a smaller fraction is a subset of a larger one, and neither the
    order of the rows nor other classes matter.

    Args:
        rows: of the manifest, training images only.
        fraction: in (0, 1].
        seed: of the ranking; both arms have the same images.
    """
    keys = rows["image_id"].map(lambda image_id: hashlib.sha256(f"{seed}/{image_id}".encode()).hexdigest())
    by_class = keys.groupby(rows["label"])
    rank = by_class.rank(method="first")  # 1 .. n; "first": the same picture twice has the same key
    quota = by_class.transform("size").mul(fraction).round().clip(lower=1)
    return rows[rank <= quota]
