"""reports/metrics.json: what `dvc metrics show`, `dvc metrics diff` and `dvc exp show` compare experiments by."""

from typing import Any

import numpy as np
import pandas as pd

from makd.agreement import Agreement, mean_or_nan
from makd.comparison import Comparisons
from makd.manifest import SPLITS
from makd.metrics import Comparison, mean_and_std
from makd.runs import ARMS


def report_metrics(
    manifest: pd.DataFrame, comparisons: Comparisons, agreements: dict[str, list[Agreement]], questions: pd.DataFrame
) -> dict[str, Any]:
    """Accuracies in percent and gaps in percentage points on test; the same on val, where alpha is chosen.

    `agreements` holds those of each model's seeds, `questions` is the question table.
    """
    return {
        "images": {split: int((manifest["split"] == split).sum()) for split in SPLITS},
        "models": {
            model: {
                "test": gap_metrics(by_split["test"]),
                "val": gap_metrics(by_split["val"]),
                "aspects": agreement_metrics(agreements[model]),
            }
            for model, by_split in comparisons.items()
        },
        "teacher": teacher_metrics(questions, len(manifest)),
    }


def rounded(value: float | np.floating, decimals: int = 4) -> float | None:
    """None, JSON's null, where there is no number."""
    return round(float(value), decimals) if np.isfinite(value) else None


def significant(value: float, digits: int = 3) -> float | None:
    """For a p-value, of which four decimals may leave nothing."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def gap_metrics(comparison: Comparison) -> dict[str, float | None]:
    """Accuracies in percent, the gap in percentage points."""
    metrics: dict[str, float | None] = {}
    for name in (*ARMS, "gap"):
        mean, std = mean_and_std(getattr(comparison, name))
        metrics |= {name: rounded(mean), f"{name}_std": rounded(std)}
    interval = {"gap_low": rounded(comparison.gap_low), "gap_high": rounded(comparison.gap_high)}
    return metrics | interval | {"p_value": significant(comparison.p_value)}


def agreement_metrics(agreements: list[Agreement]) -> dict[str, float | None]:
    """Of the student with its teacher on test, means over the seeds."""
    return {
        "auc": rounded(np.mean([mean_or_nan(one.auc) for one in agreements])),
        "spearman": rounded(np.mean([mean_or_nan(one.spearman) for one in agreements])),
        "abs_diff": rounded(np.mean([one.overall(one.abs_diff) for one in agreements])),
        "brier": rounded(np.mean([one.overall(one.brier) for one in agreements])),
        "kl_nats": rounded(np.mean([one.overall(one.kl_nats) for one in agreements])),
    }


def details(classes: pd.DataFrame, agreements: pd.DataFrame) -> dict[str, Any]:
    """What moved where, for `dvc metrics diff`: by model makd's percent right of each class, and AUC of each question.

    `classes` is the class table, `agreements` the agreement table.
    """

    def by_model(table: pd.DataFrame, name: str, value: str) -> dict[str, dict[str, float | None]]:
        return {
            model: {key: rounded(number) for key, number in zip(rows[name], rows[value], strict=True)}
            for model, rows in table.groupby("model", sort=False)
        }

    right, auc = by_model(classes, "class", "makd"), by_model(agreements, "question", "auc")
    return {model: {"classes": right[model], "questions": auc[model]} for model in right}


def teacher_metrics(table: pd.DataFrame, n_images: int) -> dict[str, Any]:
    """The question table in a few numbers; `truth` is "absent" where no question could be checked.

    `class_share` is the mean over the questions that are not constant.
    """
    known = table[table["truth_accuracy"].notna()]
    return {
        "images": n_images,
        "questions": len(table),
        "constant": int(table["constant"].sum()),
        "null_share": rounded(table["null_share"].mean()),
        "p_yes": rounded(table["p_yes_mean"].mean()),
        "class_share": rounded(table["class_share"].mean()),
        "truth": truth_metrics(known) if len(known) else "absent",
    }


def truth_metrics(known: pd.DataFrame) -> dict[str, int | float | None]:
    """Over the questions whose truth is known."""
    accuracy, auc = known["truth_accuracy"], known["truth_auc"]
    return {
        "questions": len(known),
        "accuracy": rounded(accuracy.mean()),
        "accuracy_least": rounded(accuracy.min()),
        "auc": rounded(auc.mean()),
        "auc_least": rounded(auc.min()),
    }
