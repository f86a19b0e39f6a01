"""The train block: its schedule, and what it refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from makd.params import read_params
from makd.recipe import Recipe


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(read_params()["train"] | changes)


def test_rate_falls_after_the_milestones_as_in_the_paper() -> None:
    paper = recipe(lr=0.01, gamma=0.1, milestones=[150, 180, 210], epochs=240)
    rates = {epoch: paper.lr_of(epoch - 1) for epoch in (1, 150, 151, 180, 181, 210, 211, 240)}  # counted from 1
    assert rates == pytest.approx(
        {1: 1e-2, 150: 1e-2, 151: 1e-3, 180: 1e-3, 181: 1e-4, 210: 1e-4, 211: 1e-5, 240: 1e-5}
    )


def test_milestones_may_lie_after_the_end_or_be_none() -> None:
    assert recipe(epochs=5, milestones=[40, 50]).lr_of(4) == recipe(milestones=[]).lr_of(100) == recipe().lr


def test_model_args_are_those_of_the_model_or_none() -> None:
    both = recipe(model_args={"resnet10t": {"stem_width": 8}})
    assert both.args_of("resnet10t") == {"stem_width": 8}
    assert both.args_of("resnet18") == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_px": 65}, "image_px 65 is cut from resize_px 64"),
        ({"milestones": [50, 40]}, "milestones must increase"),
        ({"milestones": [40, 40]}, "milestones must increase"),
        ({"milestones": [0]}, "greater than or equal to 1"),
        ({"nesterov": True, "momentum": 0}, "nesterov needs a momentum"),
        ({"batch_size": 1}, "greater than or equal to 2"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"lr": float("inf")}, "finite"),
        ({"crop_scale_min": 0}, "greater than 0"),
        ({"precision": "16-mixed"}, "32-true"),
        ({"model_args": {"resnet10t": 3}}, "valid dictionary"),
        ({"epoch": 3}, "not permitted"),
    ],
)
def test_bad_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(**changes)
