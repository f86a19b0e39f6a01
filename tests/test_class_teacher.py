from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from makd.augment import normalise
from makd.class_teacher import ClassifierTeacher, load_teacher, log_odds, training_scores
from makd.errors import UserError
from makd.files import write_parquet
from makd.kd import Kd
from makd.params import read_params
from makd.students import build_student, normalisation, save_student

CLASSES = ["owl", "wren"]
SMALL = {"channels": (8, 8, 8, 8), "stem_width": 8}
CPU = torch.device("cpu")


def kd(source: str) -> Kd:
    return Kd.model_validate(read_params()["kd"] | {"source": source})


def zero_shot(folder: Path, splits: list[str]) -> Path:
    table = pd.DataFrame(
        {"image_id": ["a", "b", "c"], "split": splits, "class: owl": [0.9, 0.5, np.nan], "class: wren": [0.2, 1.0, 0.1]}
    )
    table.to_parquet(folder / "zero_shot.parquet")
    return folder / "zero_shot.parquet"


def images() -> torch.Tensor:
    return torch.randint(256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()


def test_log_odds_are_finite_at_0_and_1() -> None:
    logits = log_odds(np.array([[0.75, 0.5], [0.0, 1.0], [np.nan, 0.25]]))
    np.testing.assert_allclose(logits[0], [np.log(3), 0], atol=1e-6)
    np.testing.assert_allclose(logits[1], [-np.log(1e7), np.log(1e7)], rtol=1e-4)
    assert np.isnan(logits[2, 0])


def test_scores_of_the_llm_go_to_their_images_and_classes(tmp_path: Path) -> None:
    write_parquet(training_scores(zero_shot(tmp_path, ["train", "train", "test"])), tmp_path / "scores.parquet")
    rows = pd.Series(["b", "unknown", "a", "c"])
    teacher = load_teacher(kd("mllm"), tmp_path, rows, ["wren", "owl"], CPU)
    logits = teacher.logits(np.array([2, 0, 1, 3]), torch.zeros(4, 3, 8, 8))
    np.testing.assert_allclose(logits[0], [np.log(0.25), np.log(9)], atol=1e-5)  # of "a"
    assert logits[1, 1] == 0  # of "b"
    assert logits[2:].isnan().all()  # "c" is no training image


def test_without_scores_of_training_images_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"add train to extract_logits\.zero_shot_splits"):
        training_scores(zero_shot(tmp_path, ["val", "test", "test"]))


def saved_classifier(folder: Path, **config: Any) -> torch.nn.Module:
    classifier = build_student("resnet10t", 2, 0, seed=3, model_args=SMALL)
    save_student(classifier, {"model": "resnet10t", "model_args": SMALL, "classes": CLASSES, "questions": []}, folder)
    return classifier.eval()


def test_a_classifier_sees_the_students_crops_in_its_own_normalisation(tmp_path: Path) -> None:
    classifier = saved_classifier(tmp_path)
    teacher = load_teacher(kd("classifier"), tmp_path, pd.Series(["a"]), CLASSES, CPU)
    expected = classifier(normalise(images(), *normalisation(classifier)))
    torch.testing.assert_close(teacher.logits(np.arange(3), images()), expected.detach())


def test_a_classifier_is_not_trained_by_its_student(tmp_path: Path) -> None:
    classifier = build_student("resnet10t", 2, 0, seed=3, model_args=SMALL).train()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    logits = ClassifierTeacher(classifier, 2).logits(np.arange(3), images())
    assert not logits.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in classifier.state_dict().items())  # BatchNorm's too


@pytest.mark.parametrize("source", ["classifier", "mllm"])
def test_a_teacher_of_another_source_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(UserError, match=f"kd.source is {source}, but .* dvc repro train_teacher"):
        load_teacher(kd(source), tmp_path, pd.Series(["a"]), CLASSES, CPU)
