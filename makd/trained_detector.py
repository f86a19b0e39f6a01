"""A detector that `train_detector` wrote, from Python.

detector = load_detector("pipelines/detection/models/resnet18/makd/seed0")
detector.detect(Image.open("birds.png"))    [Detection("Jay", 0.98, (21.5, 30.1, 80.2, 95.0)), ...]
detector.plain                              torchvision's FasterRCNN
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torchvision.models.detection import FasterRCNN

from makd.detection_recipe import DetectorName, DetectorRecipe
from makd.detectors import build_plain
from makd.devices import choose_device
from makd.errors import UserError, first_problem
from makd.pictures import to_rgb, upright

MENDING = "give a folder that `train_detector` wrote, such as pipelines/detection/models/resnet18/makd/seed0"


class Detection(NamedTuple):
    """`score` is in [0, 1]; `box` is left, top, right, bottom in pixels of the upright picture."""

    category: str
    score: float
    box: tuple[float, float, float, float]


class DetectorParams(BaseModel):
    """What config.json of a run says of the params."""

    train_detector: DetectorRecipe


class DetectorConfig(BaseModel):
    """What it takes to build the detector of a run anew."""

    model: DetectorName
    categories: tuple[str, ...]
    params: DetectorParams


@dataclass(frozen=True)
class TrainedDetector:
    """`plain` takes pictures of 3 x height x width in [0, 1] and counts labels from 1, as torchvision does."""

    plain: FasterRCNN
    categories: tuple[str, ...]
    device: torch.device

    def detect(self, picture: Image.Image, *, score_min: float = 0.5) -> list[Detection]:
        """What is in a picture of any mode, turned upright (EXIF), the surest first."""
        pixels = np.array(to_rgb(upright(picture))).transpose(2, 0, 1)
        with torch.inference_mode():
            [found] = self.plain([torch.from_numpy(pixels).to(self.device).float() / 255])
        rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        return [
            Detection(self.categories[label - 1], score, tuple(box)) for label, score, box in rows if score >= score_min
        ]


def load_detector(folder: str | os.PathLike[str]) -> TrainedDetector:
    """The detector of a run, without its aspect head, in evaluation mode, on the first there is of cuda, mps and cpu.

    Raises:
        UserError: no such folder, or a file in it is missing, damaged or of another run.
    """
    folder = Path(folder)
    config_file, weights_file = folder / "config.json", folder / "model.safetensors"
    try:
        config = DetectorConfig.model_validate(json.loads(config_file.read_bytes()))
        weights = load_file(weights_file)
    except ValidationError as error:
        raise UserError(f"{config_file} is not that of a detector: {first_problem(error)}; {MENDING}") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{folder} cannot be read: {' '.join(str(error).split())}; {MENDING}") from None
    recipe = config.params.train_detector
    with torch.random.fork_rng(devices=[]):
        plain = build_plain(config.model, len(config.categories), recipe, weights=False)
    try:
        plain.load_state_dict(weights)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise UserError(f"{weights_file} is not of the detector in config.json: {problem}; {MENDING}") from None
    device = choose_device("auto")
    return TrainedDetector(plain.eval().to(device), config.categories, device)
