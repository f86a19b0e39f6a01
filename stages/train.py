"""Train one student: the makd arm on classes and aspects, or the baseline arm on the classes alone.

Reads: data/manifest.parquet, its images and, in the makd arm, data/aspects.parquet and models/teacher/.
Writes: models/<model>/<arm>/seed<seed>/ with model.safetensors, config.json, history.csv and predictions.parquet.

A third arm, `teacher`, writes models/teacher/: what students distil the classes from, if anything (the `kd:` block).
It is a trained classifier, like any student, or the zero-shot scores of the multimodal LLM for the training images.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from makd.errors import UserError, one_line_errors
from makd.files import whole_folder, write_json, write_parquet
from makd.kd import Kd
from makd.params import StageParams
from makd.recipe import Recipe
from makd.runtime import Runtime


class BaselineParams(StageParams):
    """What the baseline arm depends on: neither alpha nor the answers, so that no ablation trains it anew."""

    train_fraction: float = Field(gt=0, le=1)
    train: Recipe


class TeacherParams(BaselineParams):
    """What the teacher of the classes depends on: of `kd`, its source and classifier alone."""

    kd: Kd


class Params(BaselineParams):
    """What the makd arm depends on."""

    n_questions: int = Field(ge=1)
    alpha: float = Field(ge=0)
    aspect_loss: Literal["bce", "kl"]
    aspect_targets: Literal["mllm", "random", "class_mean", "shuffled"]
    kd: Kd


def train(
    params: BaselineParams,
    runtime: Runtime,
    *,
    model: str,
    seed: int,
    manifest: Path,
    aspects: Path | None = None,
    teacher: Path | None = None,
    out: Path,
    arm: str | None = None,
) -> None:
    """Train the timm classifier `model` from `seed` into the folder `out`; a run cut short goes on where it was saved.

    `Params`, `aspects` and `teacher` make the makd arm, `BaselineParams` alone the baseline.

    Raises:
        UserError: a model, a picture or a table that does not fit, or a loss that is not finite.
        KeyboardInterrupt: after the epoch in flight, which is kept.
    """
    import pandas as pd
    import torch

    from makd.aspects import questions_in_use
    from makd.checkpoints import Checkpoint
    from makd.class_teacher import load_teacher
    from makd.epoch_progress import EpochProgress
    from makd.live import live_metrics
    from makd.manifest import class_names, read_manifest
    from makd.predictions import prediction_table
    from makd.run_data import load_run_data
    from makd.students import build_student, check_student, normalisation, save_student
    from makd.training import Run, fit, make_fabric, predict

    rows = read_manifest(manifest)
    questions = questions_in_use(aspects, params.n_questions) if aspects and isinstance(params, Params) else []
    classes, recipe = class_names(rows), params.train
    model_args = recipe.args_of(model)
    student = build_student(
        model, len(classes), len(questions), seed=seed, pretrained=recipe.pretrained, model_args=model_args
    )
    check_student(student, model, recipe.image_px, len(classes) + len(questions))
    arm = arm or ("makd" if isinstance(params, Params) else "baseline")
    config = describe_run(params, arm, model, seed, classes, questions) | normalisation(student)._asdict()
    run = Run(len(classes), recipe, seed, make_fabric(runtime.device, recipe.precision, processes_of(runtime, recipe)))
    run.fabric.launch()  # from here on in each of runtime.processes
    data = load_run_data(rows, aspects, recipe, **dials_for_data(params), seed=seed, workers=runtime.workers)
    if isinstance(params, Params):
        run = replace(run, alpha=params.alpha, aspect_loss=params.aspect_loss)
        if params.kd.active and teacher is not None:
            known = load_teacher(params.kd, teacher, data.trained_on, classes, run.fabric.device)
            run = replace(run, kd=params.kd, teacher=known)
    checkpoint = Checkpoint(key_of(config, manifest, aspects, teacher if run.teacher else None))
    first = run.fabric.is_global_zero
    progress = EpochProgress(f"{model} {arm} seed {seed}", shown=runtime.progress and first)
    with live_metrics(shown=first) as log:
        history = fit(student, data.training, data.validation, run, checkpoint, progress, log)
    if not first:  # of several processes, one writes
        return

    evaluated = pd.concat([rows[rows["split"] == "val"], rows[rows["split"] == "test"]])
    logits = torch.cat([predict(student, split.pixels, run.fabric) for split in (data.validation, data.test)])
    with whole_folder(out) as folder:
        save_student(student, config, folder)
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False, float_format="%.6g", lineterminator="\n")
        write_parquet(prediction_table(evaluated, logits, classes, questions), folder / "predictions.parquet")
    checkpoint.delete()


def dials_for_data(params: BaselineParams) -> dict[str, Any]:
    dials: dict[str, Any] = {"train_fraction": params.train_fraction}
    return dials | ({"targets": params.aspect_targets} if isinstance(params, Params) else {})


def processes_of(runtime: Runtime, recipe: Recipe) -> int:
    if recipe.compile and runtime.processes > 1:
        raise UserError(f"train.compile does not go with runtime.processes {runtime.processes}; set one of them back")
    return runtime.processes


def train_teacher(
    params: TeacherParams, runtime: Runtime, *, model: str, seed: int, manifest: Path, zero_shot: Path, out: Path
) -> None:
    """Write into the folder `out` what `kd.source` names; with `none` a note that there is no teacher.

    Raises:
        UserError: as `train`, or `zero_shot` has no scores of the training images.
    """
    if params.kd.source == "classifier":
        baseline = BaselineParams(train_fraction=params.train_fraction, train=params.train)
        train(baseline, runtime, model=model, seed=seed, manifest=manifest, out=out, arm="teacher")
        return
    from makd.class_teacher import SCORES, training_scores

    with whole_folder(out) as folder:
        write_json({"source": params.kd.source}, folder / "config.json")
        if params.kd.source == "mllm":
            write_parquet(training_scores(zero_shot), folder / SCORES)


def describe_run(
    params: BaselineParams, arm: str, model: str, seed: int, classes: list[str], questions: list[str]
) -> dict[str, Any]:
    """What config.json says, but for the mean and std of the model's pixels."""
    return {
        "model": model,
        "model_args": params.train.args_of(model),
        "arm": arm,
        "seed": seed,
        "classes": classes,
        "questions": questions,
        "image_px": params.train.image_px,
        "resize_px": params.train.resize_px,
        "params": params.model_dump(mode="json"),
    }


def key_of(config: dict[str, Any], manifest: Path, aspects: Path | None, teacher: Path | None = None) -> str:
    """Of the checkpoint: the params, the data, and the versions of the code that computes.

    A constant stands for our own code: a hash of the files would throw away hours of training for a comment.
    """
    import timm
    import torch

    from makd.checkpoints import file_hash, run_key
    from makd.training import CODE_VERSION

    inputs = {"manifest": file_hash(manifest), "aspects": aspects and file_hash(aspects)}
    if teacher is not None:
        inputs |= {path.name: file_hash(path) for path in sorted(teacher.iterdir())}
    versions = {"makd": CODE_VERSION, "timm": timm.__version__, "torch": torch.__version__}
    return run_key(config=config, inputs=inputs, versions=versions)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("arm", choices=("baseline", "teacher", "makd"))
    parser.add_argument("model", help="name of a timm classifier")
    parser.add_argument("seed", type=int)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--aspects", type=Path, help="the makd arm's answers")
    parser.add_argument("--teacher", type=Path, help="the makd arm's teacher of the classes")
    parser.add_argument("--zero-shot", type=Path, help="the teacher arm's scores of the classes")
    parser.add_argument("--out", type=Path, required=True)
    arguments = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    arm = arguments.pop("arm")
    tables: set[str] = {"baseline": set(), "teacher": {"zero_shot"}, "makd": {"aspects", "teacher"}}[arm]
    if tables != {"aspects", "teacher", "zero_shot"} & set(arguments):
        parser.error("the makd arm needs --aspects and --teacher, the teacher arm --zero-shot, and no other takes them")
    if arm == "teacher":
        train_teacher(TeacherParams.load(), Runtime.load(), **arguments)
    else:
        train((Params if arm == "makd" else BaselineParams).load(), Runtime.load(), **arguments)


if __name__ == "__main__":
    with one_line_errors():
        main()
