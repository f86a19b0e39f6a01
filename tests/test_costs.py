from typing import Any

import pytest
from torch import nn

import makd.costs
from makd.costs import fitting, flops, parameters, student_costs
from makd.params import read_params
from makd.recipe import Recipe
from makd.students import build_student

MODEL, N_CLASSES, N_QUESTIONS, PX = "mobilenetv3_small_050", 5, 7, 32


def recipe(**changes: object) -> Recipe:
    small = {"image_px": PX, "resize_px": PX, "stored_px": PX, "batch_size": 4, "epochs": 1, "milestones": []}
    return Recipe.model_validate(read_params()["train"] | small | {"pretrained": False, "model_args": {}} | changes)


def student(n_questions: int) -> nn.Module:
    return build_student(MODEL, N_CLASSES, n_questions, seed=0, model_args={})


def test_parameters_and_flops_by_hand() -> None:
    """A 3 x 3 convolution from 3 to 8 channels at half the size, 27 products an output, then a linear layer."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    assert parameters(net) == 8 * 27 + 8 * 5 + 5
    assert flops(net, 32) == 2 * (16 * 16 * 8 * 27 + 8 * 5)
    assert flops(net, 64) == 2 * (32 * 32 * 8 * 27 + 8 * 5)


def test_aspects_add_a_row_of_the_last_layer_each() -> None:
    plain, with_aspects = student(0), student(N_QUESTIONS)
    width = plain.get_classifier().in_features  # type: ignore[operator]
    assert parameters(with_aspects) - parameters(plain) == N_QUESTIONS * (width + 1)
    assert flops(with_aspects, PX) - flops(plain, PX) == N_QUESTIONS * 2 * width


def test_costs_are_those_of_the_plain_classifier_and_of_the_one_with_aspects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makd.costs, "ROUNDS", 1)
    monkeypatch.setattr(makd.costs, "ROUND_SECONDS", 0.01)
    row = student_costs(MODEL, N_CLASSES, N_QUESTIONS, recipe(), device="cpu", n_train=100)
    assert row["model"] == MODEL
    for arm, n_questions in (("baseline", 0), ("makd", N_QUESTIONS)):
        assert row[f"{arm}_parameters"] == parameters(student(n_questions))
        assert row[f"{arm}_mflop"] == pytest.approx(flops(student(n_questions), PX) / 1e6)
        assert row[f"{arm}_train_seconds"] > 0
        assert row[f"{arm}_images_per_second"] > 0
    assert row["train_ratio"] == pytest.approx(row["makd_train_seconds"] / row["baseline_train_seconds"])
    speeds = row["baseline_images_per_second"] / row["makd_images_per_second"]
    assert row["inference_ratio"] == pytest.approx(speeds)


def test_the_makd_arm_is_timed_with_its_aspects_and_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    monkeypatch.setattr(makd.costs, "train_epoch", lambda model, optimizer, examples, run, epoch: runs.append(run))
    for n_questions in (0, N_QUESTIONS):
        makd.costs.train_task(student(n_questions), N_CLASSES, n_questions, recipe(), "cpu", 8)()
    assert [run.alpha for run in runs] == [0, 1]
    assert [run.recipe.lr for run in runs] == [0, 0]


def test_a_ratio_has_its_range_over_the_rounds() -> None:
    found = makd.costs.ratios("train", {"baseline": [1.0, 2.0, 4.0], "makd": [1.1, 2.0, 6.0]})
    assert found == pytest.approx({"train_ratio": 1.1, "train_ratio_low": 1.0, "train_ratio_high": 1.5})


def test_an_epoch_is_as_long_as_the_training_images_and_a_second_as_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock by which training 8 images takes 4 s and 6 s, predicting them 1 s and 2 s."""
    times = iter([({"baseline": [4.0], "makd": [6.0]}, 8), ({"baseline": [1.0], "makd": [2.0]}, 8)])
    monkeypatch.setattr(makd.costs, "fitting", lambda *_: next(times))
    row = student_costs(MODEL, N_CLASSES, N_QUESTIONS, recipe(), device="cpu", n_train=100)
    assert (row["baseline_train_seconds"], row["makd_train_seconds"]) == (50, 75)
    assert (row["train_ratio"], row["inference_ratio"]) == (1.5, 2)
    assert (row["baseline_images_per_second"], row["makd_images_per_second"]) == (8, 4)


@pytest.mark.parametrize(
    ("batch_seconds", "n_batches"), [(0.1, 10), (0.3, 3), (5.0, 2), (1e-6, makd.costs.MOST_BATCHES)]
)
def test_as_many_batches_are_timed_as_take_about_a_round(
    batch_seconds: float, n_batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("makd.costs.time.perf_counter", lambda: now[0])

    def tasks_of(n_images: int) -> dict[str, Any]:
        def wait(seconds: float) -> None:
            now[0] += n_images / 4 * seconds

        return {"quick": lambda: wait(batch_seconds / 2), "slow": lambda: wait(batch_seconds * 0.999)}

    seconds, n_images = fitting(tasks_of, batch_size=4)
    assert n_images == 4 * n_batches
    assert seconds["slow"] == pytest.approx([n_batches * batch_seconds * 0.999] * makd.costs.ROUNDS, rel=1e-3)
