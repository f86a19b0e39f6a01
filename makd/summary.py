"""What came out, in words: the head of the report. Every number is one of the tables' below it."""

from typing import Any

import numpy as np
import pandas as pd

from makd.figures import counted
from makd.tables import p_text, plus_minus

BIRDS = (
    "These birds are drawn by code so that each individual deviates from its species, and the multimodal LLM was "
    "trained on such drawings: the figures show that the machinery works, not that the method helps on photos."
)


def summary(dataset: str, metrics: dict[str, Any], tables: dict[str, pd.DataFrame], *, learned: str) -> list[str]:
    """A paragraph each: the gap of every student, its classes, its aspects, the questions, and what to beware of.

    `metrics` is reports/metrics.json, `tables` are the CSV files beside it, `learned` is what the makd arm learns
    besides the classes.
    """
    accuracy, classes, questions = tables["accuracy"], tables["classes"], tables["questions"]
    n_classes = classes["class"].nunique()
    found = [
        f"{counted(metrics['images']['test'], 'test image')} of {counted(n_classes, 'class', 'classes')}, "
        f"{counted(len(questions), 'question')}, {counted(int(accuracy['n_seeds'].iloc[0]), 'seed')}. "
        "Accuracy is the argmax over the classes alone, from the last epoch; nothing is chosen on test."
    ]
    found += [gap_words(row, learned) for row in accuracy.to_dict("records")]
    zero_shot = accuracy["zero_shot"].iloc[0]
    if not np.isnan(zero_shot):
        found.append(f"The multimodal LLM, asked for the classes themselves, is right on {zero_shot:.1f} % of them.")
    if class_teacher := metrics.get("references", {}).get("class_teacher"):
        found.append(f"The classifier whose classes are distilled is right on {class_teacher:.1f} % of them.")
    found += [class_words(model, rows) for model, rows in classes.groupby("model", sort=False)]
    found += [aspect_words(model, rows) for model, rows in tables["agreement"].groupby("model", sort=False)]
    found.append(question_words(questions, metrics["teacher"]["truth"]))
    return [*found, BIRDS] if dataset == "birds" else found


def gap_words(row: dict[str, Any], learned: str) -> str:
    """Whether the gap can be told from none is left to the interval, and said as it is."""
    low, high = row["gap_low"], row["gap_high"]
    verdict = "which lies above zero" if low > 0 else "which lies below zero" if high < 0 else "which contains zero"
    return (
        f"{row['model']}: {plus_minus(row['baseline'], row['baseline_std'])} % by cross-entropy alone, "
        f"{plus_minus(row['makd'], row['makd_std'])} % with {learned}; the gap is "
        f"{plus_minus(row['gap'], row['gap_std'], '+')} points, with a 95 % interval over the test images of "
        f"{low:+.1f} to {high:+.1f}, {verdict} (paired test: p {equals(p_text(row['p_value']))})."
    )


def equals(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"


def class_words(model: str, classes: pd.DataFrame) -> str:
    tested = classes[classes["test_images"] > 0]
    change = tested["change"]
    best, worst = tested.loc[change.idxmax()], tested.loc[change.idxmin()]
    gaining, losing = int((change > 0).sum()), int((change < 0).sum())
    return (
        f"{model}: {counted(gaining, 'class', 'classes')} {'gains' if gaining == 1 else 'gain'}, {losing} "
        f"{'loses' if losing == 1 else 'lose'}; the changes reach from {worst['change']:+.1f} points "
        f"({worst['class']}) to {best['change']:+.1f} ({best['class']})."
    )


def aspect_words(model: str, agreement: pd.DataFrame) -> str:
    auc = agreement["auc"].dropna()
    if auc.empty:
        if not agreement["answers"].any():
            return f"{model}: the teacher was not asked about the test images, so nothing tells what it has learned."
        brier = agreement["brier"].mean()
        return (
            f"{model}: on test the teacher says only yes or only no to each question, so there is no AUC; its answers "
            f"differ from the teacher's by a mean square of {brier:.3f}."
        )
    least = agreement.loc[auc.idxmin()]
    return (
        f"{model}: its aspects agree with the teacher's with an AUC of {auc.mean():.3f} (0.5 is chance), mean over "
        f"{counted(len(auc), 'question')}; least on “{least['question']}” ({least['auc']:.3f})."
    )


def question_words(questions: pd.DataFrame, truth: str | dict[str, Any]) -> str:
    flagged = questions[questions["flags"].fillna("") != ""]
    words = f"{len(flagged)} of {counted(len(questions), 'question')} {'is' if len(flagged) == 1 else 'are'} flagged"
    every = ("constant", "redundant", "tells nothing")
    kinds = {kind: int(flagged["flags"].str.contains(kind).sum()) for kind in every}
    listed = ", ".join(f"{n} “{kind}”" for kind, n in kinds.items() if n)
    words += f" ({listed})." if listed else "."
    if isinstance(truth, dict):
        words += (
            f" Where the truth is known ({counted(truth['questions'], 'question')}), the teacher is right on "
            f"{truth['accuracy']:.1f} % of the answers, on {truth['accuracy_least']:.1f} % of the worst question's."
        )
    return words
