"""How far the evidence of the aspects (makd/evidence.py, shown by `makd explain`) goes along with the class head."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from makd.evidence import log_likelihoods
from makd.metrics import accuracy_percent
from makd.report_metrics import rounded
from makd.runs import Run, Runs

MEASURES = ("class_head", "aspects_alone", "agreement", "agreement_if_right", "agreement_if_wrong", "supported")


def faithfulness_table(
    runs: Runs,
    models: tuple[str, ...],
    seeds: tuple[int, ...],
    means: Float[np.ndarray, "classes questions"],
    teacher: Float[np.ndarray, "images questions"],
) -> pd.DataFrame:
    """A row a student, in percent of the test images, mean and standard deviation over the seeds.

    Columns: accuracy of `class_head` and of `aspects_alone` (the class under which the student's answers are
    likeliest); `agreement` of the two decisions, over all images and over those on which the class head is right or
    wrong; `supported`, how often the evidence speaks for the predicted class against the class head's second choice;
    `teacher_alone`, the accuracy of the same rule on the teacher's own answers, over the images with any (NaN: none
    has); `chance`, that of a guess.

    Args:
        runs: of all `models` and `seeds`.
        models: names of students.
        seeds: of each.
        means: makd.evidence.class_answer_means of the training split.
        teacher: its P(yes) on the test images; NaN, no answer, says nothing.
    """
    rows = []
    for model in models:
        of_seeds = pd.DataFrame([faithfulness(runs[model, "makd", seed], means) for seed in seeds])
        labels = runs[model, "makd", seeds[0]].labels("test")
        row: dict[str, Any] = {"model": model}
        for name in MEASURES:
            row |= {name: of_seeds[name].mean(), f"{name}_std": of_seeds[name].std()}
        answered = ~np.isnan(teacher).all(axis=1)
        by_teacher = log_likelihoods(teacher[answered], means).argmax(axis=1)
        rows.append(row | {"teacher_alone": share(by_teacher == labels[answered]), "chance": 100 / len(means)})
    return pd.DataFrame(rows)


def faithfulness(run: Run, means: Float[np.ndarray, "classes questions"]) -> dict[str, float]:
    """MEASURES of one run, in percent; NaN over no image."""
    p_class, labels = run.p_class("test"), run.labels("test")
    likelihoods = log_likelihoods(run.p_yes("test"), means)
    by_aspects, first = likelihoods.argmax(axis=1), run.predicted("test")
    second = runner_up(p_class)
    images = np.arange(len(labels))
    same, right = by_aspects == first, first == labels
    return {
        "class_head": share(right),
        "aspects_alone": share(by_aspects == labels),
        "agreement": share(same),
        "agreement_if_right": share(same[right]),
        "agreement_if_wrong": share(same[~right]),
        "supported": share(likelihoods[images, first] > likelihoods[images, second]),
    }


def faithfulness_metrics(row: dict[str, Any]) -> dict[str, float | None]:
    """A row of the table in short, for metrics.json."""
    names = ("aspects_alone", "agreement", "supported", "teacher_alone")
    return {name: rounded(row[name]) for name in names}


def runner_up(p_class: Float[np.ndarray, "images classes"]) -> Int[np.ndarray, " images"]:
    """The second choice; of a single class, that class."""
    return np.asarray(np.argsort(-p_class, axis=1, kind="stable")[:, min(1, p_class.shape[1] - 1)])


def share(true: Bool[np.ndarray, " images"]) -> float:
    """In percent."""
    return float(accuracy_percent(true[None])[0])
