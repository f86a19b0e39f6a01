"""Spot values of tables 1 and 2 of arXiv 2501.13341, as in its authors' repository."""

import numpy as np
import pytest

from makd.published_results import BASELINE_AND_MAKD, ZERO_SHOT, published_result


@pytest.mark.parametrize(
    ("dataset", "model", "expected"),
    [
        ("cub200", "resnet18", (10.27, 53.83, 60.07)),
        ("stanford_cars", "resnet34", (14.30, 80.93, 84.33)),
        ("oxford_pets", "mobilenetv1_100", (49.38, 78.12, 82.75)),
        ("dtd", "resnet34", (49.20, 53.76, 59.89)),
        ("flowers102", "efficientnet_b0", (26.88, 95.86, 96.78)),
        ("fgvc_aircraft", "resnet18", (11.94, 71.76, 74.33)),
        ("caltech101", "mobilenetv1_100", (85.52, 76.64, 79.14)),
        ("mini_imagenet", "efficientnet_b0", (76.38, 73.05, 75.07)),
    ],
)
def test_published_numbers_are_the_papers(dataset: str, model: str, expected: tuple[float, float, float]) -> None:
    assert published_result(dataset, model) == expected


def test_the_gains_are_those_that_the_paper_prints_beside_them() -> None:
    printed = {
        "stanford_cars": (5.85, 3.40, 2.59, 1.66),
        "oxford_pets": (5.17, 3.71, 4.63, 1.85),
        "dtd": (3.70, 6.13, 4.22, 2.59),
        "flowers102": (2.32, 2.14, 1.42, 0.92),
        "cub200": (6.24, 5.45, 4.56, 3.28),
        "fgvc_aircraft": (2.57, 1.37, 2.19, 0.72),
        "caltech101": (2.42, 2.20, 2.50, 2.12),
        "mini_imagenet": (0.86, 1.18, 1.34, 2.02),
    }
    assert ZERO_SHOT.keys() == BASELINE_AND_MAKD.keys() == printed.keys()
    for dataset, students in BASELINE_AND_MAKD.items():
        assert [makd - baseline for baseline, makd in students] == pytest.approx(printed[dataset]), dataset


def test_another_student_has_the_zero_shot_number_alone_and_another_dataset_nothing() -> None:
    other = published_result("cub200", "resnet50")
    assert other.zero_shot == 10.27
    assert np.isnan([other.baseline, other.makd]).all()
    assert np.isnan(published_result("birds", "resnet18")).all()
