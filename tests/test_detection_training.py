"""The training loop of a detector: its optimiser, its history, and what it detects."""

from pathlib import Path

import numpy as np
import pytest
import torch

from makd.checkpoints import Checkpoint
from makd.detection_pictures import BoxedPicture, boxed_pictures
from makd.detection_training import DetectorRun, detect, fit_detector, sgd
from makd.detectors import Detector, build_detector
from makd.training import make_fabric
from tests.made_up_detection import MODEL, prepare, recipe, tables_of

FABRIC = make_fabric("cpu", "32-true")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[BoxedPicture]:
    monkeypatch.chdir(tmp_path)
    prepare()
    return boxed_pictures(tables_of("train"))


@pytest.fixture
def detector() -> Detector:
    return build_detector(MODEL, 3, 2, recipe(), seed=0)


def test_the_optimiser_is_that_of_the_recipe(detector: Detector) -> None:
    detector.plain.rpn.requires_grad_(False)
    (group,) = sgd(detector, recipe(lr=0.3, momentum=0.7, weight_decay=0.05)).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.3, 0.7, 0.05, False)
    assert len(group["params"]) == sum(parameter.requires_grad for parameter in detector.parameters())


def test_the_history_has_the_rate_of_the_last_iteration_of_a_row(
    detector: Detector, pictures: list[BoxedPicture]
) -> None:
    rule = recipe(lr=0.02, iterations=5, warmup=2, milestones=[3, 4], gamma=0.1)
    p_yes = np.full((len(pictures), 2), 0.5, np.float32)
    history = fit_detector(
        detector,
        pictures,
        p_yes,
        DetectorRun(rule, 0, FABRIC, 1.0),
        Checkpoint("key"),
        workers=0,
        title="",
        shown=False,
    )
    assert [row["iteration"] for row in history] == [2, 4, 5]
    assert [row["lr"] for row in history] == pytest.approx([0.01001, 0.002, 0.0002])


def test_it_detects_what_torchvisions_detector_finds_in_pixels_from_0_to_1(
    detector: Detector, pictures: list[BoxedPicture]
) -> None:
    found = detect(detector, pictures, FABRIC, workers=0)
    for detections, picture in zip(found.detections, pictures, strict=True):
        with torch.inference_mode():
            (expected,) = detector.plain([picture.pixels() / 255])
        assert len(expected["scores"])
        assert all(torch.equal(detections[name], expected[name].float()) for name in expected)
