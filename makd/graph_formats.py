"""A student as a graph that needs neither makd nor timm: ONNX, and PyTorch's own .pt2.

Input `images`: float32 of shape (batch, 3, px, px), normalised by the mean and std of config.json. Output
`class_logits` (batch, C) and, of a student with aspects, `aspect_logits` (batch, Q). The batch may have any size.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from makd.errors import UserError
from makd.shipped_config import ShippedConfig
from makd.students import split_logits

Images = Float32[Tensor, "batch 3 px px"]
Logits = Float32[Tensor, "batch outputs"]
INPUT, OUTPUTS = "images", ("class_logits", "aspect_logits")
EXTRA = "pip install 'makd[onnx]'"


class NamedOutputs(nn.Module):
    """The student with an output for the classes and, if it has aspects, one for them."""

    def __init__(self, student: nn.Module, config: ShippedConfig) -> None:
        super().__init__()
        self.student, self.n_classes, self.has_aspects = student, config.num_classes, bool(config.questions)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        logits = self.student(images)
        return split_logits(logits, self.n_classes) if self.has_aspects else (logits,)


def example(config: ShippedConfig) -> Images:
    """Of two images: what is traced with one is fixed to one."""
    return torch.zeros(2, 3, config.image_px, config.image_px)


def captured(student: nn.Module, config: ShippedConfig) -> torch.export.ExportedProgram:
    """The student as a graph of PyTorch's operations, from which both formats are written.

    Raises:
        UserError: the model does something that no graph can hold.
    """
    batch = torch.export.Dim("batch", min=1)
    try:
        return torch.export.export(
            NamedOutputs(student, config).eval(), (example(config),), dynamic_shapes=({0: batch},)
        )
    except Exception as error:  # whatever a model does that cannot be captured
        raise UserError(
            f"torch cannot capture {config.architecture} as a graph: {first_line(error)}; export safetensors alone"
        ) from None


def write_pt2(program: torch.export.ExportedProgram, path: Path) -> None:
    """Read it back with `torch.export.load(path).module()`."""
    torch.export.save(program, path)


def write_onnx(captured: torch.export.ExportedProgram, config: ShippedConfig, path: Path) -> None:
    """One ONNX file, weights included; its metadata holds classes, questions and preprocessing as JSON.

    Raises:
        UserError: the packages of the extra `onnx` are missing, or the model has an operation that ONNX lacks.
    """
    n_outputs = 2 if config.questions else 1
    with quietly("torch.onnx"), needing_onnx():
        program = torch.onnx.export(
            captured, input_names=[INPUT], output_names=OUTPUTS[:n_outputs], dynamo=True, verbose=False
        )
    assert program is not None
    about = config.model_dump(mode="json", include={"label_names", "pretrained_cfg", "makd"})
    program.model.metadata_props.update({key: json.dumps(value, ensure_ascii=False) for key, value in about.items()})
    program.save(path, external_data=False)


def open_pt2(path: Path, device: torch.device) -> Callable[[Images], Logits]:
    try:
        with quietly("torch.export"):
            graph = torch.export.load(path).module().to(device)
    except Exception as error:  # of a damaged file, nearly every type
        raise UserError(f"{path} cannot be read: {first_line(error)}; export the student anew") from None
    return lambda images: torch.cat(graph(images), dim=-1)


def open_onnx(path: Path) -> Callable[[Images], Logits]:
    """The graph in onnxruntime, on the CPU.

    Raises:
        UserError: onnxruntime is missing, or the file is damaged.
    """
    with needing_onnx():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common type
        raise UserError(f"{path} cannot be read: {first_line(error)}; export the student anew") from None

    def compute(images: Images) -> Logits:
        outputs: list[Any] = session.run(None, {INPUT: images.cpu().numpy()})
        return torch.cat([torch.from_numpy(output) for output in outputs], dim=-1)

    return compute


@contextmanager
def needing_onnx() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name or 'more packages'}; {EXTRA}") from None
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"ONNX cannot hold this model: {first_line(error)}; export another format") from None


@contextmanager
def quietly(part: str) -> Iterator[None]:
    """This part of torch warns of its own internals, which no user can mend."""
    logger = logging.getLogger(part)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
