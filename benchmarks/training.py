"""What the aspects cost in training: an epoch of the makd arm over an epoch of the baseline."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.interleaved import best_seconds
from makd.examples import TrainingExamples
from makd.params import StageParams
from makd.recipe import Recipe
from makd.students import build_student
from makd.training import Run, make_fabric, sgd, train_epoch

N_IMAGES, N_CLASSES, N_QUESTIONS = 256, 20, 50
MODEL = "resnet10t"


class Params(StageParams):
    """The student's recipe, as params.yaml has it."""

    train: Recipe


def measure() -> dict[str, float]:
    """Name to number."""
    recipe = Params.load(Path("params.yaml")).train
    generator = torch.Generator().manual_seed(0)
    side = recipe.resize_px
    tasks = {}
    for arm, n_questions in (("baseline", 0), ("makd", N_QUESTIONS)):
        examples = TrainingExamples(
            pixels=torch.randint(256, (N_IMAGES, 3, side, side), dtype=torch.uint8, generator=generator),
            aspect_ratios=np.ones(N_IMAGES, np.float32),
            labels=torch.randint(N_CLASSES, (N_IMAGES,), generator=generator),
            p_yes=torch.rand(N_IMAGES, n_questions, generator=generator),
        )
        student = build_student(MODEL, N_CLASSES, n_questions, seed=0, model_args=recipe.args_of(MODEL))
        run = Run(N_CLASSES, recipe, 0, make_fabric("cpu", "32-true"), alpha=10.0 if n_questions else 0.0)
        model, optimizer = run.fabric.setup(student.to(memory_format=torch.channels_last), sgd(student, recipe))

        def epoch(model=model, optimizer=optimizer, examples=examples, run=run) -> object:  # type: ignore[no-untyped-def]
            return train_epoch(model, optimizer, examples, run, epoch=0)

        tasks[arm] = epoch
    seconds = best_seconds(tasks, rounds=5)
    return {"train.makd_over_baseline": seconds["makd"] / seconds["baseline"]}
