"""Which questions to use, by what their answers say about the class and about one another.

Conditional mutual information maximisation (F. Fleuret, Fast Binary Feature Selection with Conditional Mutual
Information, JMLR 5, 2004). The answers are drawn: A_q is yes with the probability P(yes) of its image, and the answers
to two questions about an image are independent given the image. All information is in bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import entr

PSEUDO_IMAGES = 1.0
"""Images that every class is given on top of its own, with the answers of all classes.

A class of n images has tables that differ from one another by chance alone, the more so the fewer images there are and
the more the answers vary: noise then looks like information about the class, and most in the questions that are noise.
With n + 1 images in place of n it looks like less. What is left of the bias is about the same for all noisy questions.
"""
TIE_BITS = 1e-9  # less than this is float rounding, which differs between machines


@dataclass(frozen=True)
class Information:
    """What the answers say about the class C."""

    own: Float[np.ndarray, " questions"]
    """I(C; A_q)."""
    given: Float[np.ndarray, "questions others"]
    """I(C; A_q | A_s) in row q and column s. On the diagonal, the question is asked a second time."""


def rank_by_information(
    p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]
) -> Int[np.ndarray, " questions"]:
    """All questions (their columns), the most telling first.

    First the one with the greatest I(C; A_q), then again and again the one with the greatest minimum, over those that
    are ranked already, of I(C; A_q | A_s): each must say something that no single one before it has said. Of equal
    ones the greater I(C; A_q) comes first, then the order of the columns.

    Args:
        p_yes: P(yes) in [0, 1]; NaN where there is no answer. Each pair counts the images with both.
        labels: the class of each image.
    """
    found = information(p_yes, labels)
    left = list(range(p_yes.shape[1]))
    score = found.own
    order: list[int] = []
    while left:
        best = greatest(found.own, greatest(score, left))[0]
        score = np.minimum(score, found.given[:, best]) if order else found.given[:, best]
        order.append(best)
        left.remove(best)
    return np.array(order, dtype=np.int64)


def greatest(values: Float[np.ndarray, " questions"], among: list[int]) -> list[int]:
    """Those that have the greatest value, within rounding, in their order."""
    of_them = values[among]
    return [question for question, value in zip(among, of_them, strict=True) if value >= of_them.max() - TIE_BITS]


def information(p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]) -> Information:
    """Of each question, and of each given each other.

    The answers to a pair in a class make a table of two by two, in expectation over the draws: the share of yes and yes
    is the mean of p_q p_s. Classes weigh as many answered images as they have. Where no image has both answers, nothing
    is known of what A_s takes away, and I(C; A_q | A_s) is I(C; A_q).
    """
    n_questions = p_yes.shape[1]
    overall = sum((pairs_of(one) for one in by_class(p_yes, labels)), np.zeros((4, n_questions, n_questions)))
    images = overall.sum(axis=0)
    overall = np.divide(overall, images, out=np.zeros_like(overall), where=images > 0)
    mixture = np.zeros_like(overall)
    pair_in_class = np.zeros_like(images)  # mean over classes of the entropies within them
    other_in_class = np.zeros_like(images)
    for one in by_class(p_yes, labels):
        pairs = pairs_of(one)
        n = pairs.sum(axis=0)
        shrunk = (pairs + PSEUDO_IMAGES * overall) / (n + PSEUDO_IMAGES)
        weight = np.divide(n, images, out=np.zeros_like(n), where=images > 0)
        mixture += weight * shrunk
        pair_in_class += weight * entropy_bits(shrunk)
        other_in_class += weight * entropy_bits(of_the_other(shrunk))
    of_pair = entropy_bits(mixture) - pair_in_class  # I(C; A_q, A_s)
    of_other = entropy_bits(of_the_other(mixture)) - other_in_class  # I(C; A_s)
    # An image that has an answer to s has one to the pair s, s: there, I(C; A_s) is over all images with an answer.
    own = np.maximum(np.diag(of_other), 0)
    return Information(own, np.where(images > 0, np.maximum(of_pair - of_other, 0), own[:, None]))


def by_class(
    p_yes: Float[np.ndarray, "images questions"], labels: Int[np.ndarray, " images"]
) -> Iterator[Float[np.ndarray, "of_class questions"]]:
    """The images of one class after the other."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    for rows in np.split(order, starts):
        yield p_yes[rows].astype(np.float64)


def pairs_of(p_yes: Float[np.ndarray, "of_class questions"]) -> Float[np.ndarray, "4 questions others"]:
    """Expected counts of (A_q, A_s): yes yes, yes no, no yes, no no; over the images that have both answers."""
    answered = (~np.isnan(p_yes)).astype(np.float64)
    yes = np.nan_to_num(p_yes)
    both = yes.T @ yes
    yes_and_answered = yes.T @ answered  # A_q is yes, and there is an answer to s
    counts = [both, yes_and_answered - both, yes_and_answered.T - both]
    counts.append(answered.T @ answered - sum(counts))
    return np.asarray(np.maximum(np.stack(counts), 0))  # rounding may reach below 0


def of_the_other(pairs: Float[np.ndarray, "4 questions others"]) -> Float[np.ndarray, "2 questions others"]:
    """The table of A_s alone, on the images of the pair."""
    return np.asarray(pairs[:2] + pairs[2:])


def entropy_bits(shares: Float[np.ndarray, "outcomes questions others"]) -> Float[np.ndarray, "questions others"]:
    return np.asarray(entr(shares).sum(axis=0) / np.log(2))
