"""t-SNE of yes/no answers, as in figure 4 of arXiv 2501.13341."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logit
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from makd.agreement import EPSILON

TSNE_SEED = 0
LEAST_POINTS = 5  # fewer have no neighbourhoods to show


@dataclass(frozen=True)
class Embedding:
    """Images on a plane, NaN where an image has no answer; or why there is nothing to show."""

    points: Float[np.ndarray, "images 2"] | None
    reason: str = ""


def sample(n_images: int, at_most: int) -> Int[np.ndarray, " chosen"]:
    """Which images to show, in their order: all, or `at_most` drawn without replacement."""
    if n_images <= at_most:
        return np.arange(n_images)
    return np.sort(np.random.default_rng(TSNE_SEED).choice(n_images, at_most, replace=False))


def aspect_logits(p_yes: Float[np.ndarray, "images questions"]) -> Float[np.ndarray, "images answered"]:
    """Log-odds of the answers; a null becomes the question's mean, and a question without an answer is left out."""
    p_yes = p_yes[:, ~np.isnan(p_yes).all(axis=0)].astype(np.float64)
    logits = logit(p_yes.clip(EPSILON, 1 - EPSILON))
    return np.asarray(np.where(np.isnan(logits), np.nanmean(logits, axis=0), logits) if logits.size else logits)


def fitting_perplexity(wanted: float, n_points: int) -> float:
    """At most a third of the other points: t-SNE looks at three times as many neighbours."""
    return min(wanted, (n_points - 1) / 3)


def embed(p_yes: Float[np.ndarray, "images questions"], perplexity: float) -> Embedding:
    """t-SNE of the answers' logits; images with equal answers are one point, the same on any number of cores.

    As points of their own, t-SNE would draw equal answers apart. An image without any answer has no place.

    The logits are not standardised: a question that the teacher decides clearly shall weigh more than one about which
    it always says the same, and the student's logits are on the teacher's scale because it learned from them.

    Args:
        p_yes: in [0, 1], or NaN.
        perplexity: about how many neighbours a point has; see `fitting_perplexity`.
    """
    answered = ~np.isnan(p_yes).all(axis=1)
    n_images = int(answered.sum())
    if n_images == 0:
        return Embedding(None, "no answers for these images")
    if n_images < LEAST_POINTS:
        return Embedding(None, f"too few images ({n_images}) for t-SNE")
    logits, point_of = distinct_rows(aspect_logits(p_yes[answered]))
    n_points, n_questions = logits.shape
    if np.ptp(logits, axis=0).max() < EPSILON:
        return Embedding(None, "all images have the same answers")
    if n_points < LEAST_POINTS:
        return Embedding(None, f"too few different answers ({n_points}) for t-SNE")
    tsne = TSNE(
        perplexity=fitting_perplexity(perplexity, n_points),
        init="pca" if n_questions > 1 else "random",  # one question has no second principal component
        random_state=TSNE_SEED,
    )
    with threadpool_limits(limits=1):  # sums over threads have no fixed order
        of_points = tsne.fit_transform(logits)
    points = np.full((len(p_yes), 2), np.nan)
    points[answered] = of_points[point_of]
    return Embedding(points)


def distinct_rows(
    logits: Float[np.ndarray, "images questions"],
) -> tuple[Float[np.ndarray, "points questions"], Int[np.ndarray, " images"]]:
    """The rows that differ, in the order in which they first come, and which of them each image has."""
    _, first, group = np.unique(logits, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return logits[first[order]], np.argsort(order)[group.ravel()]
