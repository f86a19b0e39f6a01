"""The report's tables, as data frames; what is written to disk is these and nothing else."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from makd.agreement import Agreement, question_accuracy, question_auc
from makd.comparison import Comparisons
from makd.metrics import accuracy_percent, between_class_share, macro_f1_percent, mean_and_std
from makd.published_results import published_result
from makd.question_quality import is_constant, question_quality
from makd.runs import ARMS, Runs

PERCENT = ["train_accuracy", "val_accuracy"]


def accuracy_table(
    comparisons: Comparisons, of_runs: pd.DataFrame, classes: pd.DataFrame, *, zero_shot: float, dataset: str
) -> pd.DataFrame:
    """A row a student: accuracy in percent, the gap in percentage points on test, over the seeds.

    `of_runs` is `run_table`, `classes` is `makd.class_tables.class_table`, `zero_shot` the multimodal LLM's own
    accuracy, NaN if it was not asked. The paper's numbers are empty for other datasets and students than its own.
    """
    rows = []
    for model, by_split in comparisons.items():
        test, val = by_split["test"], by_split["val"]
        row: dict[str, Any] = {"model": model, "n_seeds": len(test.makd), "zero_shot": zero_shot}
        for name in (*ARMS, "gap"):
            row[name], row[f"{name}_std"] = mean_and_std(getattr(test, name))
        row |= {"gap_low": test.gap_low, "gap_high": test.gap_high, "p_value": test.p_value}
        for arm in ARMS:
            row[f"{arm}_val"], row[f"{arm}_val_std"] = mean_and_std(getattr(val, arm))
        of_model = classes[(classes["model"] == model) & (classes["test_images"] > 0)].set_index("class")
        for arm in ARMS:
            of_arm = of_runs[(of_runs["model"] == model) & (of_runs["arm"] == arm)]
            row[f"{arm}_macro_f1"] = of_arm["test_macro_f1"].mean()
            row[f"{arm}_worst_class"], row[f"{arm}_worst"] = of_model[arm].idxmin(), of_model[arm].min()
        paper = published_result(dataset, model)._asdict()
        rows.append(row | {f"paper_{name}": value for name, value in paper.items()})
    return pd.DataFrame(rows)


def run_table(runs: Runs) -> pd.DataFrame:
    """A row a model, arm and seed: accuracies and macro F1 in percent."""
    rows = []
    for (model, arm, seed), run in runs.items():
        row: dict[str, Any] = {"model": model, "arm": arm, "seed": seed}
        for split in ("test", "val"):
            row[f"{split}_accuracy"] = float(accuracy_percent(run.correct(split)[None])[0])
        rows.append(row | {"test_macro_f1": macro_f1_percent(run.predicted("test"), run.labels("test"))})
    return pd.DataFrame(rows)


def accuracy_markdown(table: pd.DataFrame) -> str:
    """The accuracy table as Markdown, aligned so that it reads well in a terminal too."""
    with_zero_shot, with_paper = table["zero_shot"].notna().any(), table["paper_baseline"].notna().any()
    rows = [["model", "MLLM zero-shot, %", "baseline, %", "makd, %", "gap [95 % interval]", "p", "paper, %"]]
    for row in table.to_dict("records"):
        rows.append(
            [
                row["model"],
                plus_minus(row["zero_shot"], np.nan),
                plus_minus(row["baseline"], row["baseline_std"]),
                plus_minus(row["makd"], row["makd_std"]),
                f"{plus_minus(row['gap'], row['gap_std'], '+')} [{row['gap_low']:+.1f}, {row['gap_high']:+.1f}]",
                p_text(row["p_value"]),
                "" if np.isnan(row["paper_makd"]) else f"{row['paper_baseline']:.2f} -> {row['paper_makd']:.2f}",
            ]
        )
    shown = [True, with_zero_shot, True, True, True, True, with_paper]
    rows = [[cell for cell, show in zip(row, shown, strict=True) if show] for row in rows]
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    """A table, aligned; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"


def p_text(p_value: float) -> str:
    """Two significant digits, three beside the usual thresholds, where two hide the side; no zeros without end."""
    if np.isnan(p_value):
        return ""
    short = f"{p_value:.2g}"
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.3g}" if float(short) in (0.01, 0.05) else short


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
    """A row a question in rank order: what the teacher's answers are worth (`makd.question_quality` has more of it).

    Accuracy in percent and AUC in [0, 1] are against the truth, empty where that is unknown. `constant` marks a
    question with the same answer for every image: a sign that it does not suit the images, or the teacher. Its
    `class_share`, `highest_class` and `lowest_class` are empty, for of next to no variance they are noise.

    `teacher` is P(yes), a row an image, a column a question; `truth` is 1 for yes, 0 for no, NaN where unknown.
    """
    p_yes = teacher.to_numpy(dtype=np.float64)
    constant = is_constant(p_yes)
    by_class = class_means(teacher, labels, class_names)
    telling = ~constant & by_class.notna().any().to_numpy()
    extremes = [
        (means.idxmax(), means.idxmin()) if tells else (None, None)
        for tells, (_, means) in zip(telling, by_class.items(), strict=True)
    ]
    table = pd.DataFrame(
        {
            "rank": range(1, len(teacher.columns) + 1),
            "question": list(teacher.columns),
            "p_yes_mean": teacher.mean().to_numpy(),
            "p_yes_std": teacher.std(ddof=0).to_numpy(),
            "constant": constant,
            "null_share": teacher.isna().mean().to_numpy(),
            "class_share": np.where(constant, np.nan, between_class_share(p_yes, labels)),
            "truth_accuracy": question_accuracy(p_yes, truth),
            "truth_auc": question_auc(p_yes, truth),
            "highest_class": [highest for highest, _ in extremes],
            "lowest_class": [lowest for _, lowest in extremes],
        }
    )
    return pd.concat([table, question_quality(p_yes, labels)], axis=1)


def class_means(teacher: pd.DataFrame, labels: Int[np.ndarray, " images"], class_names: list[str]) -> pd.DataFrame:
    """Mean P(yes), a row a class, a column a question; NaN where a class has no answer (figure 3 of the paper)."""
    return teacher.groupby(labels).mean().reindex(range(len(class_names))).set_axis(class_names)


def agreement_table(agreements: dict[str, list[Agreement]], questions: list[str]) -> pd.DataFrame:
    """A row a model and question: the student beside its teacher on test, means over the seeds."""
    measures = ("answers", "auc", "spearman", "brier", "kl_nats", "abs_diff")
    tables = []
    for model, of_seeds in agreements.items():
        means = {name: np.mean([getattr(one, name) for one in of_seeds], axis=0) for name in measures}
        columns = {"model": model, "rank": range(1, len(questions) + 1), "question": questions}
        tables.append(pd.DataFrame(columns | means))
    return pd.concat(tables, ignore_index=True).astype({"answers": int})
