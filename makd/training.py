"""The training loop: a plain one, on the devices that Lightning Fabric offers.

Nothing is chosen here: the student is the one of the last epoch, and the test images are not even in sight.
"""

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from makd.augment import Crops, crop_and_resize, normalise
from makd.checkpoints import Checkpoint
from makd.class_teacher import ClassTeacher
from makd.devices import choose_device
from makd.epoch_progress import EpochProgress
from makd.errors import UserError
from makd.examples import Examples, TrainingExamples
from makd.interrupt import after_this
from makd.kd import Kd
from makd.losses import AspectLoss, aspect_bce, dkd_loss, kd_loss, multi_aspect_loss
from makd.processes import joined, joint_batch_norm, share_of
from makd.recipe import Recipe
from makd.seeding import derived_seed, random_stream
from makd.students import normalisation, split_logits

CODE_VERSION = 1  # raise it when a change makes the checkpoint of a half-trained student worthless
EVALUATION_BATCH = 256

Row = dict[str, int | float]
History = list[Row]  # a row an epoch


@dataclass(frozen=True)
class Run:
    """What is minimised, how, from which seed, and where. `alpha` 0 and no teacher is the cross-entropy alone."""

    n_classes: int
    recipe: Recipe
    seed: int
    fabric: Fabric
    alpha: float = 0.0
    aspect_loss: AspectLoss = "bce"
    kd: Kd | None = None  # with a teacher
    teacher: ClassTeacher | None = None


def make_fabric(device: str, precision: Literal["32-true", "bf16-mixed"], processes: int = 1) -> Fabric:
    """On the device that runtime.device names; several processes share it on a CPU, and have one each on GPUs.

    Raises:
        UserError: the device, or so many of them, are not on this machine.
    """
    kind = choose_device(device).type
    there = {"cuda": torch.cuda.device_count(), "mps": 1, "cpu": processes}[kind]
    if processes > there:
        raise UserError(f"runtime.processes is {processes}, but this machine has {there} {kind} device(s); lower it")
    strategy = "ddp" if processes > 1 else "auto"
    return Fabric(accelerator=kind, devices=processes, strategy=strategy, precision=precision)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Where an operation has no deterministic form, as some have not on a GPU, PyTorch warns once and goes on."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@deterministic_algorithms()
def fit(
    student: nn.Module,
    training: TrainingExamples,
    validation: Examples,
    run: Run,
    checkpoint: Checkpoint,
    progress: EpochProgress,
    log: Callable[[Row], None] = lambda row: None,
) -> History:
    """Train `student` in place, from the checkpoint where there is one.

    All randomness is derived from the seed and the epoch: the same inputs give the same weights, interrupted or not
    (bit for bit on a CPU with the same number of threads). `log` is told of every epoch, of those done before too.

    Raises:
        UserError: the loss is not finite.
        KeyboardInterrupt: after the epoch in flight, which is kept.
    """
    if run.fabric.device.type != "mps":
        student.to(memory_format=torch.channels_last)  # on a CPU 1.4 to 1.7 times as fast, measured
    model, optimizer = set_up(student, run)
    history = resume(checkpoint, student, optimizer)
    for row in history:
        log(row)
    progress.start(len(history), run.recipe.epochs)
    with after_this("epoch") as interrupted:
        for epoch in range(len(history), run.recipe.epochs):
            row = {"epoch": epoch + 1, "lr": run.recipe.lr_of(epoch)}
            row |= train_epoch(model, optimizer, training, run, epoch)
            row |= validate(student, validation, run)
            history.append(row)
            stop = in_any_process(interrupted, run.fabric)
            if run.fabric.is_global_zero:
                keep(checkpoint, student, optimizer, history, now=stop or epoch + 1 == run.recipe.epochs)
                log(row)
                progress.epoch_done(
                    class_loss=row["train_class_loss"],
                    aspect_loss=row["train_aspect_loss"],
                    val_accuracy=row["val_accuracy"],
                )
            if stop:
                raise KeyboardInterrupt
    return history


def set_up(student: nn.Module, run: Run) -> tuple[nn.Module, Optimizer]:
    """The student as it is trained, on its devices and compiled where the recipe says so; the weights are shared."""
    optimizer = sgd(student, run.recipe)
    model = cast(nn.Module, torch.compile(student)) if run.recipe.compile else student
    return run.fabric.setup(model, optimizer)  # type: ignore[no-any-return]


def in_any_process(interrupted: threading.Event, fabric: Fabric) -> bool:
    """All must stop after the same epoch, and a Ctrl-C may reach one of them an epoch later."""
    if fabric.world_size == 1:
        return interrupted.is_set()
    flag = torch.tensor(float(interrupted.is_set()), device=fabric.device)
    return bool(fabric.all_reduce(flag, reduce_op="sum"))


def sgd(student: nn.Module, recipe: Recipe) -> Optimizer:
    return SGD(
        student.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def keep(checkpoint: Checkpoint, student: nn.Module, optimizer: Optimizer, history: History, *, now: bool) -> None:
    """Save what `resume` loads; without `now`, not more often than a checkpoint is saved."""
    state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
    checkpoint.save(state, now=now)


def resume(checkpoint: Checkpoint, student: nn.Module, optimizer: Optimizer) -> History:
    """Load the last state, if any, and return the rows of the epochs that are done."""
    state = checkpoint.load()
    if state is None:
        return []
    student.load_state_dict(state["student"])
    optimizer.load_state_dict(state["optimizer"])
    history: History = state["history"]
    return history


def train_epoch(
    model: nn.Module, optimizer: Optimizer, training: TrainingExamples, run: Run, epoch: int
) -> dict[str, float]:
    """Every image once, and the means over them."""
    mean, std = normalisation(model)
    recipe, n_images = run.recipe, len(training.labels)
    crops = Crops.draw(training.aspect_ratios, scale_min=recipe.crop_scale_min, seed=run.seed, epoch=epoch)
    torch.manual_seed(derived_seed(run.seed, "dropout", epoch))  # of models that have any
    for group in optimizer.param_groups:
        group["lr"] = recipe.lr_of(epoch)

    model.train()
    sums = []
    for rows in batches(random_stream(run.seed, "order", epoch).permutation(n_images), recipe.batch_size):
        mine = share_of(rows, run.fabric)
        batch = training.pixels[mine], *crops.of(mine), training.labels[rows], training.p_yes[rows]
        pixels, boxes, flips, labels, p_yes = run.fabric.to_device(batch)
        images = crop_and_resize(pixels, Crops(boxes, flips), recipe.image_px)
        with joint_batch_norm(shared=len(mine) < len(rows)):
            logits = joined(model(normalise(images, mean, std)), len(rows), run.fabric)
        class_logits, aspect_logits = split_logits(logits, run.n_classes)
        total, classes, aspects = multi_aspect_loss(
            class_logits, aspect_logits, labels, p_yes, alpha=run.alpha, aspect_loss=run.aspect_loss
        )
        distilled = []
        if run.teacher is not None and run.kd is not None:
            known = joined(run.teacher.logits(mine, images), len(rows), run.fabric)
            distilled.append(class_distillation(class_logits, known, labels, run.kd))
            total = total + run.kd.weight_of(epoch) * distilled[0]
        optimizer.zero_grad()
        run.fabric.backward(total)
        optimizer.step()
        correct = (class_logits.argmax(dim=1) == labels).float().mean()
        parts = torch.stack([total, classes, aspects, correct, *distilled])
        sums.append(parts.detach() * len(rows))  # not read here: a GPU would have to wait
    return epoch_means(torch.stack(sums).double().cpu(), n_images, recipe.lr_of(epoch), epoch)


def class_distillation(
    class_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    labels: Int64[Tensor, " batch"],
    kd: Kd,
) -> Float[Tensor, ""]:
    """What `kd.weight` multiplies."""
    if kd.method == "kd":
        return kd_loss(class_logits, teacher_logits, temperature=kd.temperature)
    return dkd_loss(class_logits, teacher_logits, labels, beta=kd.dkd_beta, temperature=kd.temperature)


def batches(order: Int64[np.ndarray, " images"], size: int) -> list[Int64[np.ndarray, " batch"]]:
    """All of `order`, in parts of `size`; a last part of one image joins the one before: BatchNorm fails on one."""
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def epoch_means(sums: Float[Tensor, "batches sums"], n_images: int, lr: float, epoch: int) -> dict[str, float]:
    broken = (~sums[:, 0].isfinite()).nonzero()
    if len(broken):
        raise UserError(
            f"the training loss is not finite from batch {int(broken[0]) + 1} of epoch {epoch + 1} on, at a learning "
            f"rate of {lr:g}; lower train.lr or alpha"
        )
    names = ("train_loss", "train_class_loss", "train_aspect_loss", "train_accuracy", "train_kd_loss")
    return dict(zip(names, (sums.sum(dim=0) / n_images).tolist(), strict=False))  # the last with a teacher only


def validate(student: nn.Module, validation: Examples, run: Run) -> dict[str, float]:
    """Accuracy and, in the makd arm, the BCE against the teacher's answers; NaN where there is nothing to compare."""
    if not len(validation.labels):
        return {"val_accuracy": math.nan} | ({"val_aspect_bce": math.nan} if validation.p_yes.shape[1] else {})
    class_logits, aspect_logits = split_logits(predict(student, validation.pixels, run.fabric), run.n_classes)
    row = {"val_accuracy": (class_logits.argmax(dim=1) == validation.labels).double().mean().item()}
    if validation.p_yes.shape[1]:
        answered = not validation.p_yes.isnan().all()
        row["val_aspect_bce"] = aspect_bce(aspect_logits, validation.p_yes).item() if answered else math.nan
    return row


@deterministic_algorithms()
@torch.inference_mode()
def predict(
    student: nn.Module, pixels: UInt8[Tensor, "images 3 px px"], fabric: Fabric
) -> Float32[Tensor, "images outputs"]:
    """Logits, on the CPU, of pictures that are cropped already; no image is dropped."""
    mean, std = normalisation(student)
    student.eval()
    logits = []
    for batch in torch.split(pixels, EVALUATION_BATCH):
        images = normalise(fabric.to_device(batch).float(), mean, std)
        with fabric.autocast():
            logits.append(student(images).float().cpu())
    return torch.cat(logits)
