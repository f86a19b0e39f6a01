"""`makd evaluate-folder`: how often an exported student is right on pictures of your own, a folder a class."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from makd.datasets import is_image
from makd.errors import UserError
from makd.image_sources import images_below
from makd.metrics import macro_f1_percent
from makd.predict import predict
from makd.run_facts import Accuracy, accuracy_of
from makd.shipped import Format, ShippedStudent, load_shipped


@dataclass(frozen=True)
class ClassResult:
    """`taken_for` is what the class's wrong images are said to be most often; "" if all are right."""

    name: str
    images: int
    right: float  # percent
    taken_for: str


@dataclass(frozen=True)
class Evaluation:
    """Over the images that could be read; `bad` has the message of each other one."""

    accuracy: Accuracy
    macro_f1: float  # percent, over the classes that have an image
    classes: list[ClassResult]
    bad: list[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_folder(
    model: ShippedStudent | Path | str, folder: Path | str, *, format: Format | None = None, progress: bool = False
) -> Evaluation:
    """Predict every picture below the folders of `folder`, which are named like classes of the student.

    Args:
        model: a folder of `makd export`, or a student from `load_shipped`.
        folder: not every class needs a folder.
        format: which file of the model's folder computes; None: the first there is.
        progress: show a bar on stderr.

    Raises:
        UserError: no such model or folder, a folder that is no class, no picture that can be read.
    """
    student = model if isinstance(model, ShippedStudent) else load_shipped(model, format)
    label_of = dict(labelled_files(student.classes, Path(folder)))
    if not label_of:
        raise UserError(f"{folder} has no folder of a class with pictures in it; put them into one named like theirs")
    labels, predicted, bad = [], [], []
    for one in predict(student, list(label_of), progress=progress):
        if one.probabilities is None:
            bad.append(one.error)
        else:
            labels.append(label_of[one.path])
            predicted.append(int(one.probabilities.argmax()))
    if not labels:
        raise UserError(f"{folder}: not one of {len(bad)} images can be read; the first: {bad[0]}")
    return summed_up(np.array(labels), np.array(predicted), student.classes, bad)


def labelled_files(classes: tuple[str, ...], folder: Path) -> Iterator[tuple[Path, int]]:
    """Each picture with the label of its folder; folders that are hidden are no classes."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected one with a folder a class")
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    unknown = [entry.name for entry in folders if entry.name not in classes]
    if unknown:
        raise UserError(
            f"{folder}: {len(unknown)} of {len(folders)} folders are named like no class, the first is {unknown[0]!r}; "
            f"the classes are {', '.join(classes[:5])}{' ...' if len(classes) > 5 else ''}"
        )
    if loose := sum(is_image(entry.name) for entry in folder.iterdir() if entry.is_file()):
        print(f"warning: {loose} pictures lie beside the folders of {folder}, and are of no class", file=sys.stderr)
    for entry in folders:
        label = classes.index(entry.name)
        yield from ((file, label) for file in images_below(entry))


def summed_up(
    labels: Int[np.ndarray, " images"], predicted: Int[np.ndarray, " images"], classes: tuple[str, ...], bad: list[str]
) -> Evaluation:
    results = []
    for label in np.unique(labels):
        said = predicted[labels == label]
        wrong = np.bincount(said[said != label], minlength=1)
        taken_for = classes[wrong.argmax()] if wrong.any() else ""
        results.append(ClassResult(classes[label], len(said), 100 * float((said == label).mean()), taken_for))
    accuracy = accuracy_of(int((labels == predicted).sum()), len(labels))
    return Evaluation(accuracy, macro_f1_percent(predicted, labels), results, bad)


def evaluation_text(evaluation: Evaluation) -> str:
    """The whole, then a line a class, the worst first."""
    of_all, width = evaluation.accuracy, max(len(one.name) for one in evaluation.classes)
    lines = [
        f"{of_all.percent:.1f} % of {of_all.images:,} images are right "
        f"(95 % interval {of_all.low:.1f} to {of_all.high:.1f}), macro F1 {evaluation.macro_f1:.1f} %",
        "",
        f"{'class':<{width}}  images  right, %  most often taken for",
    ]
    for one in sorted(evaluation.classes, key=lambda one: one.right):
        lines.append(f"{one.name:<{width}}  {one.images:6,}  {one.right:8.1f}  {one.taken_for}".rstrip())
    return "\n".join(lines)
