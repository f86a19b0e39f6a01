from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pytest

from makd.bird_drawing import clip_left, draw_bird
from makd.birds import Marks, choices, seeded

BIRD = Marks(colour="blue", plump=False, wing_bars=1, crest=True)


def pixels(marks: Marks, key: int = 0, image_px: int = 64) -> npt.NDArray[np.int32]:
    return np.asarray(draw_bird(marks, seeded(key), image_px), dtype=np.int32)


def test_the_same_seed_gives_the_same_pixels() -> None:
    assert (pixels(BIRD) == pixels(BIRD)).all()
    assert (pixels(BIRD, 0) != pixels(BIRD, 1)).any()


def test_pictures_have_the_size_that_was_asked_for() -> None:
    assert pixels(BIRD, image_px=48).shape == (48, 48, 3)


@pytest.mark.parametrize("mark", [field.name for field in fields(Marks)])
def test_every_mark_can_be_seen(mark: str) -> None:
    """With the pose and the light the same, each value of a mark changes pixels, beyond noise, in most pictures."""
    for value in choices(mark):
        if value == getattr(BIRD, mark):
            continue
        other = replace(BIRD, **{mark: value})  # type: ignore[arg-type]
        changed = [np.abs(pixels(BIRD, key) - pixels(other, key)).max() for key in range(10)]
        assert np.median(changed) > 25, (value, changed)


def test_the_tip_of_a_tail_is_what_lies_behind_the_cut() -> None:
    square = np.array([[0.0, 0.0], [2, 0], [2, 2], [0, 2]])
    left = clip_left(square, 0.5)
    assert sorted(map(tuple, left)) == [(0.0, 0.0), (0.0, 2.0), (0.5, 0.0), (0.5, 2.0)]
