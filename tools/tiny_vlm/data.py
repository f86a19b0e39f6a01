"""Birds to learn from and to measure on: any combination of marks, other seeds than any data set's."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from makd.bird_drawing import draw_bird
from makd.birds import facts, individual, random_marks, seeded, species
from tools.tiny_vlm.questions import FACTS

IMAGE_PX = 64
OTHER_PX = (48, 96, 128, 160)
"""Sizes that three of ten training pictures are drawn at before they are scaled to `IMAGE_PX`."""

VARIATION = 0.35
"""Of the individuals of a species, as in the embedded default; the training birds have any marks."""


@dataclass(frozen=True)
class Birds:
    """Pictures, uint8 of shape (birds, IMAGE_PX, IMAGE_PX, 3), and truths of FACTS, bool of shape (birds, facts)."""

    pictures: npt.NDArray[np.uint8]
    truths: npt.NDArray[np.bool_]

    def truth(self, index: int) -> dict[str, bool]:
        return dict(zip(FACTS, self.truths[index].tolist(), strict=True))

    def answers(self, fact: str | None, negated: bool) -> npt.NDArray[np.bool_]:
        """The right answer for each bird."""
        asked = np.ones(len(self.truths), bool) if fact is None else self.truths[:, FACTS.index(fact)]
        return np.asarray(asked != negated)


def draw_training_bird(index: int, key: str) -> tuple[npt.NDArray[np.uint8], list[bool]]:
    rng = seeded("tiny_vlm", key, index)
    marks = random_marks(rng)
    px = IMAGE_PX if rng.random() < 0.7 else int(rng.choice(OTHER_PX))
    picture = draw_bird(marks, rng, px).resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC)
    truth = facts(marks)
    return np.asarray(picture), [truth[fact] for fact in FACTS]


def draw_species_bird(index: int, key: str) -> tuple[npt.NDArray[np.uint8], list[bool]]:
    """A bird as in the embedded default: an individual of the species whose turn it is."""
    rng = seeded("tiny_vlm", key, index)
    kinds = list(species().values())
    marks = individual(kinds[index % len(kinds)], VARIATION, rng)
    truth = facts(marks)
    return np.asarray(draw_bird(marks, rng, IMAGE_PX)), [truth[fact] for fact in FACTS]


def training_birds(count: int, key: str, workers: int) -> Birds:
    """`count` birds with random marks; a key has always the same birds, and two keys share none."""
    return gather(partial(draw_training_bird, key=key), count, workers)


def species_birds(count: int, key: str, workers: int) -> Birds:
    return gather(partial(draw_species_bird, key=key), count, workers)


def gather(draw: partial[tuple[npt.NDArray[np.uint8], list[bool]]], count: int, workers: int) -> Birds:
    if workers < 2:
        drawn = [draw(index) for index in range(count)]
    else:
        with ProcessPoolExecutor(workers) as pool:
            drawn = list(pool.map(draw, range(count), chunksize=64))
    return Birds(np.stack([picture for picture, _ in drawn]), np.array([truth for _, truth in drawn], dtype=bool))
