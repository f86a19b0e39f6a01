"""The training loop of a detector. Devices, precision, processes and resuming are those of makd/training.py.

As there, nothing is chosen: the detector is the one of the last iteration, and test pictures are not in sight.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from tqdm import tqdm

from makd.checkpoints import Checkpoint
from makd.detection_pictures import BoxedPicture, ahead, batch_rows, loaded
from makd.detection_recipe import DetectorRecipe
from makd.detectors import Detected, Detector, Trained
from makd.errors import UserError
from makd.interrupt import after_this
from makd.losses import aspect_bce
from makd.processes import joined, share_of
from makd.seeding import derived_seed
from makd.training import History, Row, deterministic_algorithms, in_any_process, keep, resume

CODE_VERSION = 1  # raise it when a change makes the checkpoint of a half-trained detector worthless

PYes = Float32[np.ndarray, "pictures aspects"]


class DetectorLosses(NamedTuple):
    """`total` is what is minimised; the other two are its parts, before alpha."""

    total: Float[Tensor, ""]
    detection: Float[Tensor, ""]
    aspects: Float[Tensor, ""]


@dataclass(frozen=True)
class DetectorRun:
    """What is minimised, how, from which seed, and where. With `alpha` 0 it is the detection loss alone."""

    recipe: DetectorRecipe
    seed: int
    fabric: Fabric
    alpha: float = 0.0


def detector_losses(
    losses: dict[str, Tensor],
    aspect_logits: Float[Tensor, "pictures aspects"],
    p_yes: Float[Tensor, "pictures aspects"],
    *,
    alpha: float,
) -> DetectorLosses:
    """Torchvision's four losses, added, plus `alpha` times the mean BCE of the answered pairs of picture and question.

    At alpha 0 the total is the detection loss itself, bit for bit. `p_yes` is in [0, 1]; NaN where there is no answer.
    """
    detection = torch.stack([loss.float() for loss in losses.values()]).sum()
    aspects = aspect_bce(aspect_logits.float(), p_yes)
    return DetectorLosses(detection + alpha * aspects if alpha else detection, detection, aspects)


@deterministic_algorithms()
def fit_detector(
    detector: Detector,
    pictures: Sequence[BoxedPicture],
    p_yes: PYes,
    run: DetectorRun,
    checkpoint: Checkpoint,
    *,
    workers: int,
    title: str,
    shown: bool,
    log: Callable[[Row], None] = lambda row: None,
) -> History:
    """Train `detector` in place, from the checkpoint where there is one, and return a row every `log_every` iterations.

    All randomness is derived from the seed and the iteration: the same inputs give the same weights, interrupted or not
    (bit for bit on a CPU with the same number of threads). Of several processes each takes a part of a batch. The
    aspect loss is that of the whole batch; the gradients of torchvision's losses are averaged, as Detectron2 does: the
    anchors and proposals that count, which are drawn at random, are then not those that one process draws.

    Raises:
        UserError: the loss is not finite, or a picture cannot be read.
        KeyboardInterrupt: after the iterations in flight, which are kept.
    """
    recipe = run.recipe
    if detector.aspect_head is not None and not run.alpha:
        detector.aspect_head.requires_grad_(False)  # nothing reaches it, which several processes would wait for
    model, optimizer = run.fabric.setup(detector, sgd(detector, recipe))
    history = resume(checkpoint, detector, optimizer)
    for row in history:
        log(row)
    done = min(len(history) * recipe.log_every, recipe.iterations)
    if shown and done:
        print(f"{title}: resuming after iteration {done}", file=sys.stderr)
    bar = tqdm(desc=title, total=recipe.iterations, initial=done, unit="it", disable=not shown, mininterval=10)
    with bar, after_this(f"row of {recipe.log_every} iterations") as interrupted:
        while done < recipe.iterations:
            upto = min(done + recipe.log_every, recipe.iterations)
            row = {"iteration": upto, "lr": recipe.lr_of(upto - 1)}
            row |= train_iterations(model, optimizer, pictures, p_yes, run, range(done, upto), workers)
            history.append(row)
            bar.set_postfix(detection=f"{row['detection_loss']:.3f}", aspects=f"{row['aspect_loss']:.3f}")
            bar.update(upto - done)
            done = upto
            stop = in_any_process(interrupted, run.fabric)
            if run.fabric.is_global_zero:
                keep(checkpoint, detector, optimizer, history, now=stop or done == recipe.iterations)
                log(row)
            if stop:
                raise KeyboardInterrupt
    return history


def sgd(detector: nn.Module, recipe: DetectorRecipe) -> Optimizer:
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    return SGD(trained, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def train_iterations(
    model: nn.Module,
    optimizer: Optimizer,
    pictures: Sequence[BoxedPicture],
    p_yes: PYes,
    run: DetectorRun,
    iterations: range,
    workers: int,
) -> dict[str, float]:
    """Those iterations, and the means of their losses."""
    recipe, fabric = run.recipe, run.fabric

    def load(iteration: int) -> tuple[list[Tensor], list[dict[str, Tensor]], Int64[np.ndarray, " batch"]]:
        rows = batch_rows(len(pictures), recipe.batch_size, run.seed, iteration)
        mine = share_of(rows, fabric)
        return *loaded(pictures, mine, flip=recipe.flip, seed=run.seed, iteration=iteration), rows

    model.train()
    sums = []
    for iteration, (images, targets, rows) in zip(iterations, ahead(load, iterations, workers), strict=True):
        torch.manual_seed(derived_seed(run.seed, "samples", iteration))  # of sizes, anchors and proposals
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr_of(iteration)
        images, targets, answers = fabric.to_device((images, targets, torch.from_numpy(p_yes[rows])))
        trained: Trained = model(images, targets)
        aspect_logits = joined(trained.aspect_logits, len(rows), fabric)  # the mean is that of the whole batch
        losses = detector_losses(trained.losses, aspect_logits, answers, alpha=run.alpha)
        optimizer.zero_grad()
        fabric.backward(losses.total)
        optimizer.step()
        sums.append(torch.stack(losses).detach())  # not read here: a GPU would have to wait
    means = torch.stack(sums).double()
    broken = (~means[:, 0].isfinite()).nonzero()
    if len(broken):
        raise UserError(
            f"the training loss is not finite from iteration {iterations[int(broken[0])] + 1} on; "
            "lower train_detector.lr or alpha, or raise train_detector.warmup"
        )
    of_all = fabric.all_reduce(means.mean(dim=0), reduce_op="mean")
    assert isinstance(of_all, Tensor)
    return dict(zip(("loss", "detection_loss", "aspect_loss"), of_all.tolist(), strict=True))


@deterministic_algorithms()
@torch.inference_mode()
def detect(detector: Detector, pictures: Sequence[BoxedPicture], fabric: Fabric, *, workers: int) -> Detected:
    """The detections in each picture, on the CPU, boxes in its upright pixels; no picture is dropped.

    One at a time, so that no detection depends on the pictures that happen to be beside it.
    """
    detector.eval()
    detections, aspect_logits = [], []
    for pixels in ahead(BoxedPicture.pixels, pictures, workers):
        with fabric.autocast():
            found: Detected = detector([fabric.to_device(pixels).float() / 255])
        detections.append({name: values.float().cpu() for name, values in found.detections[0].items()})
        aspect_logits.append(found.aspect_logits.float().cpu())
    return Detected(detections, torch.cat(aspect_logits))
