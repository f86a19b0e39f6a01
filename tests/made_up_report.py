"""`evaluate` run on made-up data, and what it leaves read back, for the tests of the stage and of the report."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from makd.files import write_json
from makd.params import validate
from makd.report_data import ReportData, read_report_data
from stages.evaluate import Params, evaluate
from tests.made_up_runs import MadeUpRuns, write_frame

SMALLEST = [
    {"n_test": 1, "n_val": 0, "seeds": (0,), "n_classes": 2, "n_questions": 1},
    {"n_test": 3, "n_val": 1, "n_classes": 2, "n_questions": 1, "n_epochs": 1},
    {"n_test": 1, "n_val": 0, "n_classes": 30},
]
"""Made-up runs as small as they can be."""
BLOCK = {"bootstrap_samples": 1000, "tsne_images": 30, "tsne_perplexity": 5.0}


def evaluated(made_up: MadeUpRuns, **changes: object) -> Path:
    """The folder that `evaluate` has written."""
    values = {"dataset": "birds", "models": made_up.models, "seeds": made_up.seeds, "evaluate": BLOCK} | changes
    out = made_up.root / "reports"
    evaluate(
        validate(Params, values),
        manifest=made_up.manifest,
        aspects=made_up.aspects,
        zero_shot=write_scores(made_up),
        runs=made_up.runs,
        facts=made_up.root / "data/birds_facts.json",
        attributes=made_up.root / "data/birds/attributes.parquet",
        out=out,
    )
    return out


def report_data(made_up: MadeUpRuns, **changes: object) -> ReportData:
    return read_data(made_up, evaluated(made_up, **changes))


def read_data(made_up: MadeUpRuns, tables: Path, **changes: Any) -> ReportData:
    places = {"manifest": made_up.manifest, "aspects": made_up.aspects, "runs": made_up.runs, "tables": tables}
    return read_report_data(**places | {"models": made_up.models, "seeds": made_up.seeds} | changes)


def metrics_in(reports: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reports / "metrics.json").read_text())
    return found


def write_scores(made_up: MadeUpRuns) -> Path:
    """Nobody was asked about the classes, unless the file is there."""
    path = made_up.root / "data/zero_shot.parquet"
    if not path.exists():
        write_frame(pd.DataFrame({"image_id": pd.Series(dtype=str)}), path)
    return path


def write_truth(made_up: MadeUpRuns) -> None:
    """The teacher is always right about the first question and always wrong about the second."""
    first, second = made_up.questions[:2]
    write_json({first: "fact", second: "fact of the second"}, made_up.root / "data/birds_facts.json")
    right = {"fact": made_up.p_yes[:, 0] > 0.5, "fact of the second": made_up.p_yes[:, 1] <= 0.5}
    table = pd.DataFrame({"path": made_up.images["path"], **right})
    write_frame(table.sample(frac=1, random_state=0), made_up.root / "data/birds/attributes.parquet")


def write_costs(path: Path, models: tuple[str, ...]) -> None:
    """As `measure_costs` does where the teacher was asked."""
    numbers = [
        *("baseline_parameters", "makd_parameters", "baseline_mflop", "makd_mflop"),
        *("baseline_train_seconds", "makd_train_seconds", "train_ratio"),
        *("train_ratio_low", "train_ratio_high", "inference_ratio_low", "inference_ratio_high"),
        *("baseline_images_per_second", "makd_images_per_second", "inference_ratio"),
        *("extraction_images", "extraction_questions", "extraction_seconds"),
    ]
    table = pd.DataFrame({"model": models, **{name: float(position + 1) for position, name in enumerate(numbers)}})
    path.parent.mkdir(parents=True, exist_ok=True)
    table.assign(device="a CPU", extraction_device="a GPU").to_csv(path, index=False)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
