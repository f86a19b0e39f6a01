from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.evidence import class_answer_means, log_likelihoods
from makd.faithfulness import MEASURES, faithfulness, faithfulness_table, runner_up
from makd.runs import Run, read_runs
from tests.made_up_runs import MadeUpRuns

MEANS = np.array([[0.9, 0.1], [0.1, 0.1], [0.1, 0.9]])


def run_of(p_class: list[list[float]], p_yes: list[list[float]], labels: list[int]) -> Run:
    table = pd.DataFrame({"label": labels})
    for prefix, values in (("class", p_class), ("aspect", p_yes)):
        for i, column in enumerate(zip(*values, strict=True)):
            table[f"{prefix}: {i}"] = np.array(column, np.float32)
    return Run(pd.DataFrame(), {"test": table})


def test_measures_by_hand() -> None:
    run = run_of(
        p_class=[[6, 3, 1], [1, 6, 3], [3, 6, 1], [3, 6, 1], [1, 3, 6], [6, 3, 1]],
        p_yes=[[1, 0], [1, 0], [0, 1], [1, 0], [0, 1], [1, 0]],  # the aspects say 0, 0, 2, 0, 2, 0
        labels=[0, 1, 1, 1, 0, 1],  # the classes say 0, 1, 1, 1, 2, 0
    )
    assert {name: round(value) for name, value in faithfulness(run, MEANS).items()} == {
        "class_head": 67,
        "aspects_alone": 17,
        "agreement": 50,
        "agreement_if_right": 25,
        "agreement_if_wrong": 100,
        "supported": 83,  # all but the fourth, of which the aspects say 0 rather than 1
    }


def test_the_teacher_is_measured_where_it_has_answers(tmp_path: Path) -> None:
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",), seeds=(0,)).write()
    runs = read_runs(made_up.runs, made_up.images, made_up.models, made_up.seeds)
    test = (made_up.images["split"] == "test").to_numpy()
    means = class_answer_means(made_up.p_yes, made_up.images["label"].to_numpy(), made_up.n_classes)

    def alone(teacher: np.ndarray) -> float:
        return float(faithfulness_table(runs, ("resnet10t",), (0,), means, teacher)["teacher_alone"].iloc[0])

    half = made_up.p_yes[test].copy()
    half[::2] = np.nan
    right = log_likelihoods(half[1::2], means).argmax(axis=1) == made_up.images["label"].to_numpy()[test][1::2]
    assert alone(half) == pytest.approx(100 * right.mean())
    assert np.isnan(alone(np.full_like(half, np.nan)))


def test_a_class_head_that_is_always_right_has_no_agreement_where_it_is_wrong() -> None:
    found = faithfulness(run_of([[0.9, 0.1, 0]], [[1, 0]], [0]), MEANS)
    assert np.isnan(found["agreement_if_wrong"])
    assert runner_up(np.array([[1.0]])).tolist() == [0]


def test_the_table_has_means_over_the_seeds(tmp_path: Path) -> None:
    made_up = MadeUpRuns(tmp_path).write()
    runs = read_runs(made_up.runs, made_up.images, made_up.models, made_up.seeds)
    split, labels = made_up.images["split"], made_up.images["label"].to_numpy()
    training = split == "train"
    means = class_answer_means(made_up.p_yes[training], labels[training], made_up.n_classes)
    teacher = made_up.p_yes[split == "test"]
    table = faithfulness_table(runs, made_up.models, made_up.seeds, means, teacher).set_index("model")
    assert list(table.index) == list(made_up.models)
    for name in MEASURES[:3]:
        of_seeds = [faithfulness(runs["resnet10t", "makd", seed], means)[name] for seed in made_up.seeds]
        assert table.loc["resnet10t", name] == pytest.approx(np.mean(of_seeds))
        assert table.loc["resnet10t", f"{name}_std"] == pytest.approx(np.std(of_seeds, ddof=1))
    assert table["chance"].tolist() == pytest.approx([100 / 3] * 2)
    assert table["teacher_alone"].nunique() == 1
    assert table["teacher_alone"].iloc[0] > 60, "the made-up answers tell the classes apart"
