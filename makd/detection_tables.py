"""The tables of a detection report: AP in percent, changes and gaps in percentage points."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from makd.agreement import Agreement
from makd.coco_metrics import MEASURES, AveragePrecision
from makd.metrics import mean_and_std
from makd.report_metrics import agreement_metrics, rounded
from makd.runs import ARMS
from makd.tables import agreement_table as table_of_agreements
from makd.tables import markdown, plus_minus


class RunKey(NamedTuple):
    model: str
    arm: str
    seed: int


Precisions = dict[RunKey, AveragePrecision]


def run_table(found: Precisions) -> pd.DataFrame:
    """A row a model, arm and seed."""
    return pd.DataFrame([{**key._asdict(), **precision.overall} for key, precision in found.items()])


def ap_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a model and arm, and one for the gap (makd less baseline, seed by seed): mean and std over the seeds."""
    rows: list[dict[str, Any]] = []
    for model, of_model in runs.groupby("model", sort=False):
        by_arm = {arm: of_model[of_model["arm"] == arm].set_index("seed")[list(MEASURES)] for arm in ARMS}
        for arm, values in [*by_arm.items(), ("gap", by_arm["makd"] - by_arm["baseline"])]:
            row: dict[str, Any] = {"model": model, "arm": arm, "n_seeds": len(values)}
            for measure in MEASURES:
                row[measure], row[f"{measure}_std"] = mean_and_std(values[measure].to_numpy())
            rows.append(row)
    return pd.DataFrame(rows)


def ap_markdown(table: pd.DataFrame, test_boxes: dict[str, int]) -> str:
    """The AP table, mean ± standard deviation over the seeds, and by MEASURES how many boxes count."""
    rows = [
        [row["model"], row["arm"], *cells_of(row, "+" if row["arm"] == "gap" else "")]
        for row in table.to_dict("records")
    ]
    return markdown([["model", "arm", *MEASURES], *rows, ["", "test boxes", *map(str, test_boxes.values())]])


def cells_of(row: dict[str, Any], sign: str) -> list[str]:
    return [plus_minus(row[measure], row[f"{measure}_std"], sign) for measure in MEASURES]


def category_table(found: Precisions, names: list[str], boxes: Int[np.ndarray, " categories"]) -> pd.DataFrame:
    """A row a model and category: boxes in the test pictures, AP of each arm (mean over the seeds), the change."""
    tables = []
    for model in dict.fromkeys(key.model for key in found):
        columns = {
            arm: np.mean([of.categories for key, of in found.items() if key[:2] == (model, arm)], axis=0)
            for arm in ARMS
        }
        table = pd.DataFrame({"model": model, "category": names, "test_boxes": boxes, **columns})
        tables.append(table.assign(change=table["makd"] - table["baseline"]))
    return pd.concat(tables, ignore_index=True)


def agreement_table(
    agreements: dict[str, list[Agreement]], questions: list[str], teacher_auc: Float[np.ndarray, " questions"]
) -> pd.DataFrame:
    """A row a model and question: the detector beside its teacher, means over the seeds; the teacher beside the truth.

    `teacher_auc` is NaN where the truth is not known.
    """
    table = table_of_agreements(agreements, questions).drop(columns="rank")
    return table.assign(teacher_auc=np.tile(teacher_auc, len(agreements)))


def detection_metrics(
    table: pd.DataFrame, agreements: dict[str, list[Agreement]], pictures: dict[str, int], test_boxes: dict[str, int]
) -> dict[str, Any]:
    """reports/metrics.json: what `dvc metrics diff` and `dvc exp show` compare experiments by.

    `pictures` counts those of each split, `test_boxes` those that count for each of MEASURES.
    """
    models: dict[str, Any] = {}
    for row in table.to_dict("records"):
        of_arm = {name: rounded(row[name]) for measure in MEASURES for name in (measure, f"{measure}_std")}
        models.setdefault(row["model"], {})[row["arm"]] = of_arm
    for model, of_seeds in agreements.items():
        models[model]["aspects"] = agreement_metrics(of_seeds)
    return {"pictures": pictures, "test_boxes": test_boxes, "models": models}
