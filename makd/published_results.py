"""What the paper reports for its eight datasets: tables 1 and 2 of arXiv 2501.13341, as in its authors' repository.

Accuracy in percent, means of three runs. Of EfficientNet the paper names no variant; B0 is a guess.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """Percent; NaN where the paper has nothing to compare with."""

    zero_shot: float
    baseline: float
    makd: float


NOTHING = Published(float("nan"), float("nan"), float("nan"))
STUDENTS = ("resnet18", "resnet34", "mobilenetv1_100", "efficientnet_b0")
ZERO_SHOT = {
    "stanford_cars": 14.30,
    "oxford_pets": 49.38,
    "dtd": 49.20,
    "flowers102": 26.88,
    "cub200": 10.27,
    "fgvc_aircraft": 11.94,
    "caltech101": 85.52,
    "mini_imagenet": 76.38,
}
BASELINE_AND_MAKD = {
    "stanford_cars": ((77.53, 83.38), (80.93, 84.33), (82.84, 85.43), (86.41, 88.07)),
    "oxford_pets": ((77.07, 82.24), (79.07, 82.78), (78.12, 82.75), (83.42, 85.27)),
    "dtd": ((55.73, 59.43), (53.76, 59.89), (57.22, 61.44), (60.28, 62.87)),
    "flowers102": ((92.32, 94.64), (92.75, 94.89), (94.14, 95.56), (95.86, 96.78)),
    "cub200": ((53.83, 60.07), (56.48, 61.93), (58.85, 63.41), (66.04, 69.32)),
    "fgvc_aircraft": ((71.76, 74.33), (75.56, 76.93), (78.22, 80.41), (84.16, 84.88)),
    "caltech101": ((73.35, 75.77), (75.36, 77.56), (76.64, 79.14), (80.05, 82.17)),
    "mini_imagenet": ((76.86, 77.72), (77.47, 78.65), (77.50, 78.84), (73.05, 75.07)),
}


def published_result(dataset: str, model: str) -> Published:
    """The paper's numbers for a dataset, as params.yaml names it, and a timm classifier."""
    if dataset not in ZERO_SHOT:
        return NOTHING
    if model not in STUDENTS:
        return NOTHING._replace(zero_shot=ZERO_SHOT[dataset])
    return Published(ZERO_SHOT[dataset], *BASELINE_AND_MAKD[dataset][STUDENTS.index(model)])
