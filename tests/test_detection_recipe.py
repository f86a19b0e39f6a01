"""The train_detector block: its schedule, and what it refuses."""

from typing import Any

import pytest

from makd.errors import UserError
from tests.made_up_detection import recipe


def test_the_rate_rises_over_the_warm_up_and_falls_at_the_milestones() -> None:
    rule = recipe(lr=0.02, warmup=60, milestones=[220, 270], gamma=0.1, iterations=300)
    rates = {0: 2e-5, 30: 0.01001, 59: 0.019667, 60: 0.02, 219: 0.02, 220: 0.002, 269: 0.002, 270: 0.0002, 299: 0.0002}
    assert {iteration: rule.lr_of(iteration) for iteration in rates} == pytest.approx(rates)


def test_warm_up_and_milestones_may_be_none() -> None:
    rule = recipe(lr=0.02, warmup=0, milestones=[])
    assert rule.lr_of(0) == rule.lr_of(10**6) == 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"milestones": [270, 220]}, "milestones must increase"),
        ({"short_px": [64, 48]}, "short_px must increase"),
        ({"anchor_px": [16, 16, 32, 48, 64]}, "anchor_px must increase"),
        ({"short_px": [128]}, "short_px 128 must not exceed long_px 96"),
        ({"batch_size": 1}, "batch_size"),
        ({"trainable_layers": 6}, "trainable_layers"),
    ],
)
def test_bad_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(**changes)
