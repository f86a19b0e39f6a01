"""A student that has left the pipeline: load what `makd export` wrote, and ask it.

student = load_shipped("out")
student.predict(Image.open("bird.png"))    {"Hill Jay": 0.93, "Lake Jay": 0.04, ...}
student.aspects(Image.open("bird.png"))    {"Is the bird's tail forked?": 0.98, ...}
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from makd.augment import normalise
from makd.devices import choose_device
from makd.errors import UserError
from makd.graph_formats import first_line, open_onnx, open_pt2
from makd.preprocessing import student_pixels
from makd.shipped_config import CONFIG, ShippedConfig, read_config
from makd.students import ClassAndAspectHead, build_student, find_classifier, split_logits

Format = Literal["safetensors", "onnx", "pt2"]
FILES: dict[Format, str] = {"safetensors": "model.safetensors", "onnx": "model.onnx", "pt2": "model.pt2"}
ASPECTS = "aspects.safetensors"
"""Beside model.safetensors, which stays a plain classifier that timm loads: `weight` (Q, D) and `bias` (Q) of the
aspect rows, and `class_means` (C, Q), the teacher's mean P(yes) on the training split."""


class Probabilities(NamedTuple):
    classes: Float32[np.ndarray, "images classes"]  # softmax over the C class outputs alone
    aspects: Float32[np.ndarray, "images aspects"]  # sigmoid: P(yes), in [0, 1]; Q is 0 without an aspect head


@dataclass(frozen=True)
class ShippedStudent:
    """An exported student; `class_means` is there if it was exported with aspects."""

    folder: Path
    config: ShippedConfig
    device: torch.device
    compute: Callable[[Tensor], Tensor]
    class_means: Float32[np.ndarray, "classes aspects"] | None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def questions(self) -> tuple[str, ...]:
        return self.config.questions

    def predict(self, image: Image.Image) -> dict[str, float]:
        """Probability of each class, in [0, 1], the likeliest first."""
        [of_image] = self.probabilities(self.pixels([image])).classes
        order = np.argsort(-of_image, kind="stable")
        return {self.classes[label]: float(of_image[label]) for label in order}

    def aspects(self, image: Image.Image) -> dict[str, float]:
        """P(yes) to each question, in [0, 1], by rank.

        Raises:
            UserError: the student was exported without aspects.
        """
        self.need_aspects()
        [of_image] = self.probabilities(self.pixels([image])).aspects
        return dict(zip(self.questions, map(float, of_image), strict=True))

    def need_aspects(self) -> None:
        if not self.questions:
            raise UserError(f"{self.folder} was exported without aspects; export the run again with --aspects")

    def pixels(self, images: Sequence[Image.Image]) -> UInt8[Tensor, "images 3 px px"]:
        return torch.from_numpy(np.stack([student_pixels(image, self.config) for image in images]))

    def probabilities(self, pixels: UInt8[Tensor, "images 3 px px"]) -> Probabilities:
        """Of pictures that `makd.preprocessing` has cropped, all in one batch."""
        class_logits, aspect_logits = split_logits(self.logits(pixels), len(self.classes))
        return Probabilities(class_logits.softmax(dim=1).numpy(), torch.sigmoid(aspect_logits).numpy())

    def logits(self, pixels: UInt8[Tensor, "images 3 px px"]) -> Float32[Tensor, "images outputs"]:
        """On the CPU; C class outputs, then Q aspect outputs."""
        cfg = self.config.pretrained_cfg
        images = normalise(pixels.to(self.device).float(), cfg.mean, cfg.std)
        with torch.inference_mode():
            return self.compute(images).float().cpu()


def load_shipped(folder: str | os.PathLike[str], format: Format | None = None) -> ShippedStudent:
    """The student in `folder`, on the first there is of cuda, mps and cpu; an ONNX graph computes on the CPU.

    Args:
        folder: what `makd export` wrote.
        format: which of the files in it computes; None: the first there is of safetensors, onnx, pt2.

    Raises:
        UserError: no such folder or file, or a damaged one.
    """
    folder = Path(folder)
    config = read_config(folder)
    chosen = format or next((name for name, file in FILES.items() if (folder / file).is_file()), None)
    if chosen is None or not (folder / FILES[chosen]).is_file():
        wanted = FILES[chosen] if chosen else " nor ".join(FILES.values())
        raise UserError(f"{folder} has no {wanted}; export it, or name a format that is there")
    device, extras = choose_device("cpu" if chosen == "onnx" else "auto"), read_aspects(folder, config)
    compute: Callable[[Tensor], Tensor]
    match chosen:
        case "safetensors":
            compute = assemble(folder, config, extras).eval().to(device)
        case "onnx":
            compute = open_onnx(folder / FILES[chosen])
        case "pt2":
            compute = open_pt2(folder / FILES[chosen], device)
    if chosen != "safetensors":
        check_graph(compute, config, device, folder / FILES[chosen])
    means = extras["class_means"].numpy() if extras else None
    return ShippedStudent(folder, config, device, compute, means)


def check_graph(compute: Callable[[Tensor], Tensor], config: ShippedConfig, device: torch.device, path: Path) -> None:
    """A graph of other classes, aspects or pictures than config.json says would answer all the same, or not at all."""
    images = torch.zeros(1, 3, config.image_px, config.image_px, device=device)
    expected = (1, len(config.classes) + len(config.questions))
    try:
        with torch.inference_mode():
            got = tuple(compute(images).shape)
    except Exception as error:  # runtimes have no common type
        raise UserError(
            f"{path} does not take the pictures of {config.image_px} px of config.json: {first_line(error)[:160]}; "
            "export anew"
        ) from None
    if got != expected:
        raise UserError(
            f"{path} gives {got[1]} outputs a picture, but config.json has {len(config.classes)} classes and "
            f"{len(config.questions)} questions; export anew"
        )


def assemble(folder: Path, config: ShippedConfig, extras: dict[str, Tensor]) -> nn.Module:
    """The plain classifier and, where its rows are there, the aspects put below those of the classes."""
    try:
        student = build_student(config.architecture, config.num_classes, 0, seed=0, model_args=config.model_args)
    except UserError as error:  # it speaks of params.yaml
        raise UserError(f"{folder / CONFIG}: architecture or model_args: {error}") from None
    try:
        student.load_state_dict(read_tensors(folder / FILES["safetensors"]))
        if extras:
            place, classifier = find_classifier(student, config.architecture)
            head = ClassAndAspectHead(classifier, len(config.questions))
            with torch.no_grad():
                head.weight[config.num_classes :] = extras["weight"]
                if head.bias is not None:
                    head.bias[config.num_classes :] = extras["bias"]
            student.set_submodule(place, head)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"the weights in {folder} are not those of its config.json: {' '.join(str(error).split())[:160]}; "
            "export anew"
        ) from None
    return student


def read_aspects(folder: Path, config: ShippedConfig) -> dict[str, Tensor]:
    """Nothing of a student without aspects."""
    if not config.questions:
        return {}
    path = folder / ASPECTS
    found = read_tensors(path)
    # The width of the weight is left to the model, which tells when it does not fit.
    expected = {"class_means": (len(config.classes), len(config.questions)), "weight": (len(config.questions),)}
    for name, shape in expected.items():
        got = tuple(found[name].shape)[: len(shape)] if name in found else "none"
        if got != shape:
            raise UserError(f"{path}: {name} must be of {shape}, as config.json says, got {got}; export anew")
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}; export the student anew") from None
    if broken := [name for name, tensor in found.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise UserError(f"{path}: {broken[0]} holds what is no number; export the student anew")
    return found
