"""Evaluation and report of ten thousand test images; each step is run as a process of its own, which is measured.

`python -m tests.report_steps STEP FOLDER` prints what came of it, then seconds and the peak of its memory as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.peak import status
from makd.params import read_params
from makd.runtime import Runtime
from stages import evaluate, report
from tests.made_up_report import write_costs, write_scores
from tests.made_up_runs import MadeUpRuns

N_CLASSES, N_QUESTIONS, TEST_IMAGES_A_CLASS = 200, 100, 50
PARAMS = read_params() | {"dataset": "birds", "models": ["resnet18"], "seeds": [0, 1]}


def made_up(folder: Path) -> MadeUpRuns:
    size = {"n_classes": N_CLASSES, "n_questions": N_QUESTIONS, "n_test": TEST_IMAGES_A_CLASS, "n_epochs": 200}
    return MadeUpRuns(folder, models=("resnet18",), seeds=(0, 1), **size)


def make(folder: Path) -> str:
    files = made_up(folder).write()
    write_scores(files)
    write_costs(folder / "costs.csv", files.models)
    return f"{len(files.images):,} images, of which there is no picture"


def evaluate_runs(folder: Path) -> str:
    files, params = made_up(folder), {name: PARAMS[name] for name in evaluate.Params.model_fields}
    evaluate.evaluate(
        evaluate.Params.model_validate(params),
        manifest=files.manifest,
        aspects=files.aspects,
        zero_shot=folder / "data/zero_shot.parquet",
        runs=files.runs,
        facts=folder / "no_facts.json",
        attributes=None,
        out=folder / "reports",
    )
    return f"{sum(path.stat().st_size for path in (folder / 'reports').iterdir()) / 1e6:.1f} MB of tables"


def draw_report(folder: Path) -> str:
    files, params = made_up(folder), {name: PARAMS[name] for name in report.Params.model_fields}
    report.report(
        report.Params.model_validate(params),
        Runtime(workers=2, progress=False),
        manifest=files.manifest,
        aspects=files.aspects,
        runs=files.runs,
        tables=folder / "reports",
        costs=folder / "costs.csv",
        out=folder / "page",
    )
    return f"a page of {(folder / 'page/index.html').stat().st_size / 1e6:.1f} MB"


STEPS: dict[str, Callable[[Path], str]] = {"make": make, "evaluate": evaluate_runs, "report": draw_report}


if __name__ == "__main__":
    start = time.monotonic()
    print(STEPS[sys.argv[1]](Path(sys.argv[2])))
    seconds, peak = time.monotonic() - start, status("VmHWM") // 1024
    print(json.dumps({"seconds": seconds, "peak_kib": peak}))
