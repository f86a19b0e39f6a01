"""The report's tables, as data frames; what is written to disk is these and nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from makd.agreement import Agreement, question_accuracy, question_auc
from makd.comparison import Comparisons
from makd.files import atomic_write
from makd.metrics import between_class_share, mean_and_std
from makd.runs import ARMS, Runs

PERCENT = ["train_accuracy", "val_accuracy"]
CONSTANT_STD = 0.02
"""A question whose P(yes) varies less than this over the images can teach nothing."""


def accuracy_table(comparisons: Comparisons) -> pd.DataFrame:
    """A row a model and arm: accuracy in percent, and on the row of makd the gap in percentage points on test."""
    rows = []
    for model, by_split in comparisons.items():
        for arm in ARMS:
            test, val = (getattr(by_split[split], arm) for split in ("test", "val"))
            row = {"model": model, "arm": arm, "n_seeds": len(test)}
            row["test_accuracy_mean"], row["test_accuracy_std"] = mean_and_std(test)
            row["val_accuracy_mean"], row["val_accuracy_std"] = mean_and_std(val)
            if arm == "makd":
                row["gap_mean"], row["gap_std"] = mean_and_std(by_split["test"].gap)
                row["gap_low"], row["gap_high"] = by_split["test"].gap_low, by_split["test"].gap_high
            rows.append(row)
    return pd.DataFrame(rows)


def accuracy_markdown(table: pd.DataFrame) -> str:
    """The accuracy table as Markdown, aligned so that it reads well in a terminal too."""
    rows = [["model", "arm", "test accuracy, %", "val accuracy, %", "gap on test [95 % interval]"]]
    for row in table.to_dict("records"):
        gap = ""
        if row["arm"] == "makd":
            gap = f"{plus_minus(row['gap_mean'], row['gap_std'], '+')} [{row['gap_low']:+.1f}, {row['gap_high']:+.1f}]"
        accuracies = [
            plus_minus(row[f"{split}_accuracy_mean"], row[f"{split}_accuracy_std"]) for split in ("test", "val")
        ]
        rows.append([row["model"], row["arm"], *accuracies, gap])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"


def plus_minus(mean: float, std: float, sign: str = "") -> str:
    """Mean ± standard deviation to a tenth; empty without a mean, the mean alone for a single seed."""
    if np.isnan(mean):
        return ""
    return f"{mean:{sign}.1f}" if np.isnan(std) else f"{mean:{sign}.1f} ± {std:.1f}"


def training_table(runs: Runs) -> pd.DataFrame:
    """The histories of all runs, a row a model, arm, seed and epoch; accuracies in percent, as in all tables here."""
    histories = []
    for (model, arm, seed), run in runs.items():
        history = run.history.copy()
        history[PERCENT] = 100 * history[PERCENT]
        for position, (column, value) in enumerate({"model": model, "arm": arm, "seed": seed}.items()):
            history.insert(position, column, value)
        histories.append(history)
    return pd.concat(histories, ignore_index=True)


def question_table(
    teacher: pd.DataFrame,
    truth: Float[np.ndarray, "images questions"],
    labels: Int[np.ndarray, " images"],
    class_names: list[str],
) -> pd.DataFrame:
    """A row a question in rank order: what the teacher's answers are worth.

    Accuracy in percent and AUC in [0, 1] are against the truth, empty where that is unknown. `constant` marks a
    question with the same answer for every image: a sign that it does not suit the images, or the teacher. Its
    `class_share` is empty, for the share of next to no variance is noise.

    `teacher` is P(yes), a row an image, a column a question; `truth` is 1 for yes, 0 for no, NaN where unknown.
    """
    p_yes = teacher.to_numpy(dtype=np.float64)
    std = teacher.std(ddof=0).to_numpy()
    constant = std < CONSTANT_STD
    by_class = class_means(teacher, labels, class_names)
    return pd.DataFrame(
        {
            "rank": range(1, len(teacher.columns) + 1),
            "question": list(teacher.columns),
            "p_yes_mean": teacher.mean().to_numpy(),
            "p_yes_std": std,
            "constant": constant,
            "null_share": teacher.isna().mean().to_numpy(),
            "class_share": np.where(constant, np.nan, between_class_share(p_yes, labels)),
            "truth_accuracy": question_accuracy(p_yes, truth),
            "truth_auc": question_auc(p_yes, truth),
            "highest_class": [None if means.isna().all() else means.idxmax() for _, means in by_class.items()],
            "lowest_class": [None if means.isna().all() else means.idxmin() for _, means in by_class.items()],
        }
    )


def class_means(teacher: pd.DataFrame, labels: Int[np.ndarray, " images"], class_names: list[str]) -> pd.DataFrame:
    """Mean P(yes), a row a class, a column a question; NaN where a class has no answer (figure 3 of the paper)."""
    return teacher.groupby(labels).mean().reindex(range(len(class_names))).set_axis(class_names)


def with_students(table: pd.DataFrame, agreements: dict[str, list[Agreement]]) -> pd.DataFrame:
    """The question table with a column `auc_<model>`: student against teacher on test, mean over the seeds."""
    means = {f"auc_{model}": np.mean([one.auc for one in of_seeds], axis=0) for model, of_seeds in agreements.items()}
    return table.assign(**means)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Six significant digits; an empty cell where there is no number."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
