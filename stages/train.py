"""Train one student: the makd arm on classes and aspects, or the baseline arm on the classes alone.

Reads: data/manifest.parquet, its images and, in the makd arm, data/aspects.parquet.
Writes: models/<model>/<arm>/seed<seed>/ with model.safetensors, config.json, history.csv and predictions.parquet.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from makd.errors import UserError, one_line_errors
from makd.files import write_parquet
from makd.params import StageParams
from makd.recipe import Recipe
from makd.runtime import Runtime

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from makd.examples import Examples, TrainingExamples

    Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]

MUCH_MISSING = 0.05
"""A greater share of missing answers is warned of."""


class BaselineParams(StageParams):
    """What the baseline arm depends on: neither alpha nor the answers, so that no ablation trains it anew."""

    train_fraction: float = Field(gt=0, le=1)
    train: Recipe


class Params(BaselineParams):
    """What the makd arm depends on."""

    n_questions: int = Field(ge=1)
    alpha: float = Field(ge=0)
    aspect_loss: Literal["bce", "kl"]
    aspect_targets: Literal["mllm", "random", "class_mean", "shuffled"]


def train(
    params: BaselineParams, runtime: Runtime, *, model: str, seed: int, manifest: Path, aspects: Path | None, out: Path
) -> None:
    """Train the timm classifier `model` from `seed` into the folder `out`; a run cut short goes on where it was saved.

    `Params` and `aspects` make the makd arm, `BaselineParams` and None the baseline.

    Raises:
        UserError: a model, a picture or a table that does not fit, or a loss that is not finite.
    """
    import pandas as pd
    import torch

    from makd.checkpoints import Checkpoint
    from makd.epoch_progress import EpochProgress
    from makd.manifest import class_names, read_manifest
    from makd.predictions import prediction_table
    from makd.students import build_student, check_student, normalisation, save_student
    from makd.training import Run, fit, make_fabric, predict

    rows = read_manifest(manifest)
    questions = read_questions(aspects, params)
    classes, recipe = class_names(rows), params.train
    model_args = recipe.args_of(model)
    student = build_student(
        model, len(classes), len(questions), seed=seed, pretrained=recipe.pretrained, model_args=model_args
    )
    check_student(student, model, recipe.image_px, len(classes) + len(questions))
    config = describe_run(params, model, seed, classes, questions) | normalisation(student)._asdict()
    training, validation, test = load_splits(rows, aspects, params, seed, runtime.workers)

    run = Run(len(classes), recipe, seed, make_fabric(runtime.device, recipe.precision))
    if isinstance(params, Params):
        run = replace(run, alpha=params.alpha, aspect_loss=params.aspect_loss)
    checkpoint = Checkpoint(key_of(config, manifest, aspects))
    progress = EpochProgress(f"{model} {config['arm']} seed {seed}", shown=runtime.progress)
    history = fit(student, training, validation, run, checkpoint, progress)

    evaluated = pd.concat([rows[rows["split"] == "val"], rows[rows["split"] == "test"]])
    logits = torch.cat([predict(student, split.pixels, run.fabric) for split in (validation, test)])
    with whole_folder(out) as folder:
        save_student(student, config, folder)
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False, float_format="%.6g", lineterminator="\n")
        write_parquet(prediction_table(evaluated, logits, classes, questions), folder / "predictions.parquet")
    checkpoint.delete()


def read_questions(aspects: Path | None, params: BaselineParams) -> list[str]:
    """The questions of the aspect table; the baseline has none."""
    from makd.aspects import asked_questions

    if aspects is None:
        return []
    questions = asked_questions(aspects)
    assert isinstance(params, Params)
    if len(questions) != params.n_questions:
        raise UserError(
            f"{aspects} has {len(questions)} questions, n_questions is {params.n_questions}; "
            f"run: dvc repro extract_logits"
        )
    return questions


def describe_run(
    params: BaselineParams, model: str, seed: int, classes: list[str], questions: list[str]
) -> dict[str, Any]:
    """What config.json says, but for the mean and std of the model's pixels."""
    return {
        "model": model,
        "model_args": params.train.args_of(model),
        "arm": "makd" if isinstance(params, Params) else "baseline",
        "seed": seed,
        "classes": classes,
        "questions": questions,
        "image_px": params.train.image_px,
        "resize_px": params.train.resize_px,
        "params": params.model_dump(mode="json"),
    }


def load_splits(
    rows: "pd.DataFrame", aspects: Path | None, params: BaselineParams, seed: int, workers: int
) -> tuple["TrainingExamples", "Examples", "Examples"]:
    """Training, validation and test images. The dials for data and targets touch the training images alone."""
    from makd.examples import Examples, TrainingExamples
    from makd.targets import keep_fraction

    px = {"resize_px": params.train.resize_px, "workers": workers}
    split = {name: rows[rows["split"] == name] for name in ("train", "val", "test")}
    kept = keep_fraction(split["train"], params.train_fraction, seed)
    targets = training_targets(kept, aspects, params, seed)
    validation, test = (
        Examples.load(split[name], answers_of(split[name], aspects), image_px=params.train.image_px, **px)
        for name in ("val", "test")
    )
    return TrainingExamples.load(kept, targets, **px), validation, test


def answers_of(rows: "pd.DataFrame", aspects: Path | None) -> "Matrix":
    """The teacher's answers about these images; the baseline knows of no question, Q is 0."""
    import numpy as np

    from makd.aspects import p_yes_matrix

    return np.empty((len(rows), 0), np.float32) if aspects is None else p_yes_matrix(aspects, rows["image_id"])


def training_targets(rows: "pd.DataFrame", aspects: Path | None, params: BaselineParams, seed: int) -> "Matrix":
    """What the aspect outputs are trained towards, for these images."""
    from makd.targets import aspect_targets

    p_yes = answers_of(rows, aspects)
    if isinstance(params, Params):
        p_yes = aspect_targets(p_yes, rows["label"].to_numpy(), params.aspect_targets, seed)
        check_answered(p_yes, aspects)
    return p_yes


def check_answered(p_yes: "Matrix", aspects: Path | None) -> None:
    """Say how many answers are missing, and refuse to train on none: that would be the baseline under another name."""
    import numpy as np

    missing = int(np.isnan(p_yes).sum())
    share = missing / p_yes.size
    if share == 1:
        raise UserError(
            f"{aspects} has no answer about any of the {len(p_yes)} training images, and the makd arm learns from "
            "answers; run dvc repro --force extract_logits, which names the images that it cannot read"
        )
    if missing:
        warning = "warning: " if share > MUCH_MISSING else ""
        print(f"{warning}{missing} of the {p_yes.size} training answers are missing ({share:.1%})", file=sys.stderr)


def key_of(config: dict[str, Any], manifest: Path, aspects: Path | None) -> str:
    """Of the checkpoint: the params, the data, and the versions of the code that computes.

    A constant stands for our own code: a hash of the files would throw away hours of training for a comment.
    """
    import timm
    import torch

    from makd.checkpoints import file_hash, run_key
    from makd.training import CODE_VERSION

    inputs = {"manifest": file_hash(manifest), "aspects": aspects and file_hash(aspects)}
    versions = {"makd": CODE_VERSION, "timm": timm.__version__, "torch": torch.__version__}
    return run_key(config=config, inputs=inputs, versions=versions)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that takes its place at the end, so that `out` is never half written."""
    partial = out.with_name(f".{out.name}.partial")  # one name, so that what a kill leaves behind is cleared next time
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("arm", choices=("baseline", "makd"))
    parser.add_argument("model", help="name of a timm classifier")
    parser.add_argument("seed", type=int)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--aspects", type=Path, help="the makd arm's answers")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if (arguments.arm == "makd") != (arguments.aspects is not None):
        parser.error("the makd arm needs --aspects, and the baseline takes none")
    params = (Params if arguments.arm == "makd" else BaselineParams).load()
    del arguments.arm
    train(params, Runtime.load(), **vars(arguments))


if __name__ == "__main__":
    with one_line_errors():
        main()
