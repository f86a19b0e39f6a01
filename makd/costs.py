"""What the aspects cost a student: parameters, FLOPs and time beside the baseline (section 5.5 of arXiv 2501.13341)."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from makd.examples import TrainingExamples
from makd.interleaved import best_seconds, round_seconds
from makd.recipe import Recipe
from makd.students import build_student
from makd.training import Run, make_fabric, predict, set_up, train_epoch

ROUNDS = 5
ROUND_SECONDS = 1.0
"""About so long a task runs in each round."""
MOST_BATCHES = 64


def parameters(student: nn.Module) -> int:
    return sum(weights.numel() for weights in student.parameters())


def flops(student: nn.Module, px: int) -> int:
    """Floating-point operations of one picture of `px` x `px`, a multiplication and an addition being two."""
    device = next(student.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        student.eval()(torch.zeros(1, 3, px, px, device=device))
    return int(counter.get_total_flops())


def student_costs(
    model: str, n_classes: int, n_questions: int, recipe: Recipe, *, device: str, n_train: int
) -> dict[str, Any]:
    """A row of the cost table: both arms of `model`, timed in turn on random pictures that lie decoded in memory.

    Seconds are those of the clock on the wall, the least of ROUNDS rounds; a ratio has its range over them.
    An epoch is `n_train` images long, without the validation.
    """
    arms = {"baseline": 0, "makd": n_questions}
    students = {
        arm: build_student(model, n_classes, aspects, seed=0, model_args=recipe.args_of(model))
        for arm, aspects in arms.items()
    }
    row: dict[str, Any] = {"model": model}
    row |= {f"{arm}_parameters": parameters(student) for arm, student in students.items()}
    row |= {f"{arm}_mflop": flops(student, recipe.image_px) / 1e6 for arm, student in students.items()}
    training, n_trained = fitting(
        lambda n: {
            arm: train_task(students[arm], n_classes, aspects, recipe, device, n) for arm, aspects in arms.items()
        },
        recipe.batch_size,
    )
    inference, n_predicted = fitting(
        lambda n: {arm: predict_task(student, recipe, device, n) for arm, student in students.items()},
        recipe.batch_size,
    )
    row |= {f"{arm}_train_seconds": min(training[arm]) / n_trained * n_train for arm in arms}
    row |= ratios("train", training)
    row |= {f"{arm}_images_per_second": n_predicted / min(inference[arm]) for arm in arms}
    return row | ratios("inference", inference)


def ratios(name: str, taken: dict[str, list[float]]) -> dict[str, float]:
    """Of makd to baseline, round by round: the median, the least and the greatest. Noise is as wide as these."""
    of_rounds = np.divide(taken["makd"], taken["baseline"])
    low, middle, high = np.percentile(of_rounds, (0, 50, 100))
    return {f"{name}_ratio": float(middle), f"{name}_ratio_low": float(low), f"{name}_ratio_high": float(high)}


def fitting(
    tasks_of: Callable[[int], dict[str, Callable[[], object]]], batch_size: int
) -> tuple[dict[str, list[float]], int]:
    """Seconds of each task and round, and on how many images: as many batches as take about ROUND_SECONDS."""
    tasks = tasks_of(2 * batch_size)
    best_seconds(tasks, 1, time.perf_counter)  # the first steps allocate and compile
    batch_seconds = max(best_seconds(tasks, 1, time.perf_counter).values()) / 2
    n_batches = int(np.clip(ROUND_SECONDS / batch_seconds, 2, MOST_BATCHES))
    tasks = tasks_of(n_batches * batch_size)
    return round_seconds(tasks, ROUNDS, time.perf_counter), n_batches * batch_size


def random_pixels(n_images: int, px: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n_images, 3, px, px), dtype=torch.uint8, generator=generator)


def train_task(
    student: nn.Module, n_classes: int, n_questions: int, recipe: Recipe, device: str, n_images: int
) -> Callable[[], object]:
    """An epoch over so many images; its end waits for the device."""
    generator = torch.Generator().manual_seed(0)
    examples = TrainingExamples(
        pixels=random_pixels(n_images, recipe.stored_px),
        aspect_ratios=np.ones(n_images, np.float32),
        labels=torch.randint(n_classes, (n_images,), generator=generator),
        p_yes=torch.rand(n_images, n_questions, generator=generator),
    )
    still = recipe.model_copy(update={"lr": 0.0})  # on noise, at the recipe's rate, some students diverge
    run = Run(n_classes, still, 0, make_fabric(device, recipe.precision), alpha=float(n_questions > 0))
    if run.fabric.device.type != "mps":
        student.to(memory_format=torch.channels_last)
    model, optimizer = set_up(student, run)
    return lambda: train_epoch(model, optimizer, examples, run, epoch=0)


def predict_task(student: nn.Module, recipe: Recipe, device: str, n_images: int) -> Callable[[], object]:
    """The logits of so many images, on the CPU at the end."""
    fabric, pixels = make_fabric(device, recipe.precision), random_pixels(n_images, recipe.image_px)
    student.to(fabric.device)
    return lambda: predict(student, pixels, fabric)
