"""All numbers of the detectors, over all models and seeds: AP as COCO defines it, and how well aspects are known.

Reads: data/pictures.parquet, data/boxes.parquet, data/categories.parquet, data/aspects.parquet, models/, the pictures
    that are drawn and, for the default, what is true of its birds.
Writes: reports/ap.md, ap.csv, runs.csv, categories.csv, agreement.csv, training.csv, metrics.json and figures/.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from makd.agreement import Agreement, agreement, question_auc, true_answers
from makd.aspects import asked_questions, p_yes_matrix, question_columns
from makd.coco_metrics import average_precision, category_counts, size_counts
from makd.coco_results import read_results
from makd.csv_tables import write_csv
from makd.detection_figures import Results, ap_figure, detections_figure
from makd.detection_recipe import DetectorName
from makd.detection_set import DetectionSet, read_set
from makd.detection_tables import (
    Precisions,
    RunKey,
    agreement_table,
    ap_markdown,
    ap_table,
    category_table,
    detection_metrics,
    run_table,
)
from makd.errors import UserError, one_line_errors
from makd.figures import figure_style, save_figure
from makd.files import atomic_write, main_checkout, parquet_errors, whole_folder, write_json
from makd.params import Block, Distinct, StageParams
from makd.runs import ARMS

MENDING = "run: dvc repro, in the folder of this pipeline"
TRUTH = "attributes.parquet"
"""Beside the splits of the default's pictures: what is true of them."""


class EvaluateDetectorParams(Block):
    """The `evaluate_detector:` block."""

    figure_pictures: int = Field(ge=1, le=20)
    score_min: float = Field(ge=0, le=1)  # of a detection that is drawn; AP counts all


class Params(StageParams):
    """What the report is about."""

    models: Distinct[DetectorName]
    seeds: Distinct[int]
    evaluate_detector: EvaluateDetectorParams


def evaluate_detector(
    params: Params,
    *,
    pictures: Path,
    boxes: Path,
    categories: Path,
    aspects: Path,
    facts: Path,
    runs: Path,
    out: Path,
) -> None:
    """Write the tables and figures into the folder `out`.

    Raises:
        UserError: a run is missing, damaged, or of other pictures or questions.
    """
    every = read_set(pictures, boxes, categories)
    test = every.of("test")
    keys = [RunKey(model, arm, seed) for model in params.models for arm in ARMS for seed in params.seeds]
    results = {key: results_of(key, runs, test) for key in keys}
    precisions: Precisions = {key: average_precision(test, found) for key, found in results.items()}
    of_runs = run_table(precisions)
    table = ap_table(of_runs)
    teacher = p_yes_of(aspects, test)
    agreements: dict[str, list[Agreement]] = {
        model: [agreement_of(RunKey(model, "makd", seed), runs, teacher, test) for seed in params.seeds]
        for model in params.models
    }
    counts = {split: len(every.of(split).pictures) for split in ("train", "test")}
    tables = {
        "runs": of_runs,
        "ap": table,
        "categories": category_table(precisions, test.names, category_counts(test).to_numpy()),
        "agreement": agreement_table(agreements, list(teacher.columns), teacher_auc(facts, test, teacher)),
        "training": training_table(keys, runs),
    }
    first = {arm: results[RunKey(params.models[0], arm, params.seeds[0])] for arm in ARMS}
    block, whose = params.evaluate_detector, f", {params.models[0]}, seed {params.seeds[0]}"
    with whole_folder(out / "figures") as folder, figure_style():  # they need the pictures, which may be gone
        shown = detections_figure(test, first, block.figure_pictures, block.score_min, whose)
        save_figure(shown, folder / "detections.png")
        save_figure(ap_figure(of_runs, counts["test"]), folder / "ap.png")
    for name, rows in tables.items():
        write_csv(rows, out / f"{name}.csv")
    boxes_by_measure = size_counts(test)
    write_json(detection_metrics(table, agreements, counts, boxes_by_measure), out / "metrics.json")
    with atomic_write(out / "ap.md") as temporary:
        temporary.write_text(ap_markdown(table, boxes_by_measure), encoding="utf-8")
    print(ap_markdown(table, boxes_by_measure), end="")


def folder_of(key: RunKey, runs: Path) -> Path:
    return runs / key.model / key.arm / f"seed{key.seed}"


def results_of(key: RunKey, runs: Path, test: DetectionSet) -> Results:
    """The detections of a run, all in the test pictures and of the dataset's categories."""
    path = folder_of(key, runs) / "detections.json"
    found = read_results(path, MENDING)
    unknown = {one["image_id"] for one in found} - set(test.pictures["coco_id"])
    if unknown:
        raise UserError(f"{path} has detections in {len(unknown)} pictures that are not of the test split; {MENDING}")
    if unknown := {one["category_id"] for one in found} - set(test.categories["coco_id"]):
        raise UserError(f"{path} has detections of category_id {min(unknown)}, which is none of the dataset; {MENDING}")
    return found


def p_yes_of(aspects: Path, test: DetectionSet) -> pd.DataFrame:
    """The teacher's P(yes) of the test pictures, a column a question; NaN where it was not asked."""
    questions = asked_questions(aspects)
    return pd.DataFrame(p_yes_matrix(aspects, test.pictures["image_id"]), columns=questions)


def agreement_of(key: RunKey, runs: Path, teacher: pd.DataFrame, test: DetectionSet) -> Agreement:
    path = folder_of(key, runs) / "aspects.parquet"
    with parquet_errors(path, MENDING):
        student = pd.read_parquet(path)
    same = list(student["image_id"]) == list(test.pictures["image_id"])
    if not same or question_columns(student) != list(teacher.columns):
        raise UserError(f"{path} is about other pictures or questions than data/aspects.parquet; {MENDING}")
    p_yes = student[list(teacher.columns)].to_numpy(dtype=np.float32)
    return agreement(p_yes, teacher.to_numpy(dtype=np.float32))


def teacher_auc(facts: Path, test: DetectionSet, teacher: pd.DataFrame) -> np.ndarray:
    """How well the teacher tells what is so of any bird of a picture; NaN for other datasets than the default."""
    attributes = main_checkout() / Path(test.pictures["path"].iloc[0]).parents[1] / TRUTH
    if not attributes.is_file():
        return np.full(teacher.shape[1], np.nan)
    truth = true_answers(facts, attributes, test.pictures["path"], list(teacher.columns))
    return question_auc(teacher.to_numpy(dtype=np.float32), truth)


def training_table(keys: list[RunKey], runs: Path) -> pd.DataFrame:
    """The histories of all runs."""
    tables = []
    for key in keys:
        path = folder_of(key, runs) / "history.csv"
        try:
            history = pd.read_csv(path)
        except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
            raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}; {MENDING}") from None
        tables.append(pd.DataFrame([key._asdict()]).merge(history, how="cross"))
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate_detector", description=__doc__)
    for name in ("pictures", "boxes", "categories", "aspects", "facts", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    paths = vars(parser.parse_args())
    evaluate_detector(Params.load(), **paths)


if __name__ == "__main__":
    with one_line_errors():
        main()
