"""The student: any timm classifier with one linear layer of C class and Q aspect outputs (Eq. 2 and 3 of the paper)."""

import difflib
import json
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from jaxtyping import Float
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional

from makd.errors import UserError
from makd.files import write_json
from makd.seeding import derived_seed


class ClassAndAspectHead(nn.Linear):
    """One linear layer, C rows for the classes and Q below them for the aspects, multiplied apart.

    One wide product may order its sums otherwise (measured: 7e-7 in the gradient of 16 x 512 features, C = 196,
    Q = 50). Apart, what the classes see is the plain classifier bit for bit, so that alpha = 0 is exactly the baseline.
    """

    def __init__(self, classifier: nn.Linear, n_aspects: int) -> None:
        n_classes, has_bias = classifier.out_features, classifier.bias is not None
        super().__init__(classifier.in_features, n_classes + n_aspects, bias=has_bias)
        self.n_classes = n_classes
        with torch.no_grad():
            self.weight[:n_classes] = classifier.weight
            if has_bias:
                self.bias[:n_classes] = classifier.bias

    def forward(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch outputs"]:
        parts = [
            functional.linear(features, self.weight[rows], None if self.bias is None else self.bias[rows])
            for rows in (slice(self.n_classes), slice(self.n_classes, None))
        ]
        return torch.cat(parts, dim=-1)


def split_logits(
    logits: Float[Tensor, "batch outputs"], n_classes: int
) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch aspects"]]:
    """The class logits, which alone decide the predicted class, and the aspect logits."""
    return logits[:, :n_classes], logits[:, n_classes:]


def build_student(
    name: str, n_classes: int, n_aspects: int, *, seed: int, pretrained: bool = False, model_args: dict[str, Any]
) -> nn.Module:
    """The timm classifier `name` with `n_classes + n_aspects` outputs; with 0 aspects, the plain classifier.

    The backbone and the class rows depend on `seed` alone, not on `n_aspects`; the global random state stays as it is.
    `model_args` are further keyword arguments of `timm.create_model`.

    Raises:
        UserError: no such model, a wrong argument, no pretrained weights, or an end that is not one linear layer.
    """
    check_name(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "student"))
        student = create_timm_model(name, n_classes, pretrained, model_args)
        if n_aspects:
            place, classifier = find_classifier(student, name)
            torch.default_generator.manual_seed(derived_seed(seed, "aspects of the student"))
            student.set_submodule(place, ClassAndAspectHead(classifier, n_aspects))
    return student


def check_name(name: str, key: str = "models") -> None:
    """Raise a `UserError` with close matches if timm has no model `name`, which stands under `key` in params.yaml."""
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5)
        hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() has all names"
        raise UserError(f"{key}: timm has no model {name!r}; {hint}")


def create_timm_model(name: str, n_classes: int, pretrained: bool, model_args: dict[str, Any]) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=n_classes, **model_args)
    except Exception as error:  # models raise whatever a wrong argument provokes
        if pretrained and isinstance(error, OSError | RuntimeError):
            raise UserError(
                f"train.pretrained: no weights for {name}: {one_clause(error)}; set it to false, or go online"
            ) from None
        if not model_args:
            raise
        raise UserError(f"train.model_args.{name}: {one_clause(error)}; got {model_args}") from None
    return model


def find_classifier(student: nn.Module, name: str) -> tuple[str, nn.Linear]:
    """The dotted name of the linear layer that ends a timm model, and the layer."""
    place = timm_config(student)["classifier"]
    layer = student.get_submodule(place) if isinstance(place, str) else None
    if not isinstance(layer, nn.Linear):
        got = f"several layers, {place}" if layer is None else f"{place}, a {type(layer).__name__}"
        raise UserError(
            f"models: aspects need a model that ends in one nn.Linear; {name} ends in {got}; choose another"
        )
    return place, layer


def check_student(student: nn.Module, name: str, image_px: int, n_outputs: int) -> None:
    """Refuse, before anything is trained, a model that cannot take `image_px` or has its own number of outputs."""
    student.eval()
    try:
        with torch.inference_mode():
            shape = tuple(student(torch.zeros(1, 3, image_px, image_px)).shape)
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise UserError(
            f"{name} cannot take pictures of {image_px} x {image_px}: {one_clause(error)}; "
            f"change train.image_px or train.model_args.{name}"
        ) from None
    if shape != (1, n_outputs):
        raise UserError(f"models: {name} gives {shape} for a picture, expected (1, {n_outputs}); choose another")


def one_clause(error: Exception) -> str:
    """The message of `error` for the middle of a line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


class Normalisation(NamedTuple):
    """Mean and standard deviation of the red, green and blue values, which are in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def normalisation(student: nn.Module) -> Normalisation:
    """The one that timm has for this model."""
    config = timm_config(student)
    return Normalisation(tuple(config["mean"]), tuple(config["std"]))


def timm_config(student: nn.Module) -> dict[str, Any]:
    return cast(dict[str, Any], student.pretrained_cfg)


def save_student(student: nn.Module, config: dict[str, Any], folder: Path) -> None:
    """Write model.safetensors and config.json; equal weights give equal bytes."""
    student.to(memory_format=torch.contiguous_format)
    save_model(student, str(folder / "model.safetensors"))
    write_json(config, folder / "config.json")


def load_student(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A trained student in evaluation mode and its config.json, from a folder that `train` wrote."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    n_classes, n_aspects = len(config["classes"]), len(config["questions"])
    student = build_student(config["model"], n_classes, n_aspects, seed=0, model_args=config["model_args"])
    load_model(student, folder / "model.safetensors")
    return student.eval(), config
