from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.class_scores import class_columns
from makd.references import reference_accuracies
from tests.made_up_runs import MadeUpRuns


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    return MadeUpRuns(tmp_path).write()


def accuracies(made_up: MadeUpRuns, scores: np.ndarray, split: str = "test", teacher: str = "none") -> dict[str, float]:
    images = pd.read_parquet(made_up.manifest)
    rows = images[images["split"] == split].reset_index(drop=True)
    names = class_columns(sorted(images["class_name"].unique()))
    table = rows.join(pd.DataFrame(scores[rows.index], columns=names))
    table.sample(frac=1, random_state=0).to_parquet(made_up.root / "zero_shot.parquet")
    return reference_accuracies(images, teacher=made_up.root / teacher, zero_shot=made_up.root / "zero_shot.parquet")


def scores_of(made_up: MadeUpRuns) -> np.ndarray:
    """Right about every test image."""
    images = pd.read_parquet(made_up.manifest)
    labels = images.loc[images["split"] == "test", "label"]
    scores: np.ndarray = np.full((len(images), images["label"].nunique()), 0.2)
    scores[np.arange(len(labels)), labels] = 0.7
    return scores


def test_zero_shot_accuracy_is_over_all_test_images(made_up: MadeUpRuns) -> None:
    scores = scores_of(made_up)
    assert accuracies(made_up, scores) == {"zero_shot": 100}
    n = int((pd.read_parquet(made_up.manifest)["split"] == "test").sum())
    scores[0] = np.nan
    assert accuracies(made_up, scores) == {"zero_shot": pytest.approx(100 * (n - 1) / n)}


def test_scores_of_other_splits_say_nothing_about_test(made_up: MadeUpRuns) -> None:
    assert accuracies(made_up, scores_of(made_up), split="train") == {}


def test_a_classifier_that_teaches_is_measured_like_a_student(made_up: MadeUpRuns) -> None:
    teacher = f"models/{made_up.models[0]}/makd/seed{made_up.seeds[0]}"
    predictions = pd.read_parquet(made_up.root / teacher / "predictions.parquet")
    test = predictions[predictions["split"] == "test"]
    expected = 100 * float((test["predicted"] == test["class_name"]).mean())
    found = accuracies(made_up, scores_of(made_up), split="train", teacher=teacher)
    assert found == {"class_teacher": pytest.approx(expected)}
