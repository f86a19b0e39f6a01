"""A folder that `train` wrote, opened to be exported."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import nn

from makd.errors import UserError
from makd.files import parquet_errors
from makd.students import load_student

COLUMNS = ("image_id", "path", "split", "class_name", "predicted")
"""Of predictions.parquet, that is."""
MENDING = "give a folder that `train` wrote, such as models/resnet10t/makd/seed0"


class RunConfig(BaseModel):
    """config.json of a run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str
    model_args: dict[str, Any]
    arm: str
    seed: int
    classes: tuple[str, ...] = Field(min_length=1)
    questions: tuple[str, ...]
    image_px: int = Field(ge=1)
    resize_px: int = Field(ge=1)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    params: dict[str, Any] = Field(min_length=1)


@dataclass(frozen=True)
class TrainedRun:
    """`predictions` is the table of val and test images; None if it is gone, for a student works without it."""

    folder: Path
    config: RunConfig
    student: nn.Module
    predictions: pd.DataFrame | None


def open_run(folder: Path) -> TrainedRun:
    """The student in evaluation mode, with what is known of its run.

    Raises:
        UserError: `folder` is no run, or a file in it is missing or damaged.
    """
    config = read_run_config(folder / "config.json")
    try:
        student, _ = load_student(folder)
    except (OSError, SafetensorError, RuntimeError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{folder}/model.safetensors cannot be loaded ({problem}); run: dvc repro") from None
    return TrainedRun(folder, config, student, read_predictions(folder / "predictions.parquet"))


def read_run_config(path: Path) -> RunConfig:
    try:
        return RunConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}); {MENDING}") from None
    except ValidationError as error:
        if "train_detector" in path.read_text(encoding="utf-8"):
            raise UserError(f"{path} is that of a detector, which needs no export: docs/detection.md") from None
        keys = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}))
        raise UserError(f"{path} is not that of a run: {keys or 'not a mapping'} missing or wrong; {MENDING}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {MENDING}") from None


def read_predictions(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    mending = "run: dvc repro, or remove the file to export without its accuracy"
    with parquet_errors(path, mending):
        found = pd.read_parquet(path)
    if lacking := [name for name in COLUMNS if name not in found]:
        raise UserError(f"{path} has no column {lacking[0]!r}; {mending}")
    return found
