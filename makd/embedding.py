"""t-SNE of yes/no answers, as in figure 4 of arXiv 2501.13341."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logit
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from makd.agreement import EPSILON

TSNE_SEED = 0
LEAST_IMAGES = 5  # fewer have no neighbourhoods to show


@dataclass(frozen=True)
class Embedding:
    """Images on a plane, or why there is nothing to show."""

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


def fitting_perplexity(wanted: float, n_images: int) -> float:
    """At most a third of the other images: t-SNE looks at three times as many neighbours."""
    return min(wanted, (n_images - 1) / 3)


def embed(p_yes: Float[np.ndarray, "images questions"], perplexity: float) -> Embedding:
    """t-SNE of the answers' logits; equal answers give equal points, on any number of cores.

    The logits are not standardised: a question that the teacher decides clearly shall weigh more than one about which
    it always says the same, and the student's logits are on the teacher's scale because it learned from them.

    Args:
        p_yes: in [0, 1], or NaN.
        perplexity: about how many neighbours a point has; see `fitting_perplexity`.
    """
    logits = aspect_logits(p_yes)
    n_images, n_questions = logits.shape
    if n_questions == 0:
        return Embedding(None, "no answers for these images")
    if n_images < LEAST_IMAGES:
        return Embedding(None, f"too few images ({n_images}) for t-SNE")
    if np.ptp(logits, axis=0).max() < EPSILON:
        return Embedding(None, "all images have the same answers")
    tsne = TSNE(
        perplexity=fitting_perplexity(perplexity, n_images),
        init="pca" if n_questions > 1 else "random",  # one question has no second principal component
        random_state=TSNE_SEED,
    )
    with threadpool_limits(limits=1):  # sums over threads have no fixed order
        return Embedding(np.asarray(tsne.fit_transform(logits), dtype=np.float64))
