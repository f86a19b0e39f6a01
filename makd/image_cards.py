"""Single images with what was said of them: figure 5 of arXiv 2501.13341, mistakes included."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

CARDS_A_KIND = 12
QUESTIONS_A_CARD = 8
CARDS_SEED = 0
KINDS = ("mended by makd", "spoilt by makd", "both wrong", "both right")


@dataclass(frozen=True)
class ImageCard:
    """A test image, by its position among them, and the questions, by their rank from 0, that tell most about it."""

    row: int
    kind: str
    rival: int  # the class that it was or could have been taken for
    questions: list[int]


def choose_cards(
    baseline: Int[np.ndarray, " images"],
    makd: Float[np.ndarray, "images classes"],
    labels: Int[np.ndarray, " images"],
    class_means: Float[np.ndarray, "classes questions"],
    each: int = CARDS_A_KIND,
) -> list[ImageCard]:
    """Images drawn at random of each kind, so that nobody has picked the nice ones; the kinds in turn.

    Args:
        baseline: the class that the baseline predicts.
        makd: probabilities of the classes by the makd arm.
        labels: the true classes.
        class_means: the teacher's mean P(yes) of each class; NaN where it has no answer.
        each: at most so many of a kind.
    """
    predicted = makd.argmax(axis=1)
    right = {"baseline": baseline == labels, "makd": predicted == labels}
    of_kind = dict(
        zip(
            KINDS,
            (
                ~right["baseline"] & right["makd"],
                right["baseline"] & ~right["makd"],
                ~right["baseline"] & ~right["makd"],
                right["baseline"] & right["makd"],
            ),
            strict=True,
        )
    )
    rng = np.random.default_rng(CARDS_SEED)
    drawn = {kind: rng.permutation(np.flatnonzero(mask))[:each] for kind, mask in of_kind.items()}
    second = np.argsort(-makd, axis=1, kind="stable")[:, 1]
    rivals = np.where(right["makd"], np.where(right["baseline"], second, baseline), predicted)
    return [
        ImageCard(int(row), kind, int(rivals[row]), telling_questions(class_means, labels[row], rivals[row]))
        for turn in range(each)
        for kind, rows in drawn.items()
        for row in rows[turn : turn + 1]
    ]


def telling_questions(
    class_means: Float[np.ndarray, "classes questions"], true: int | np.integer, rival: int | np.integer
) -> list[int]:
    """The questions whose mean answers differ most between the two classes; those without an answer not at all."""
    difference = np.abs(class_means[true] - class_means[rival])
    order = np.argsort(-np.nan_to_num(difference, nan=-1.0), kind="stable")
    return [int(question) for question in order[:QUESTIONS_A_CARD] if not np.isnan(difference[question])]
