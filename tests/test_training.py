"""The loop: it learns, repeats itself bit for bit, survives an interruption, and drops no image."""

import dataclasses
import math
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from makd import training
from makd.augment import Crops, crop_and_resize
from makd.checkpoints import Checkpoint
from makd.epoch_progress import EpochProgress
from makd.errors import UserError
from makd.examples import Examples, TrainingExamples
from makd.kd import Kd
from makd.params import read_params
from makd.recipe import Recipe
from makd.students import build_student, split_logits
from makd.training import History, Run, batches, fit, make_fabric, predict, sgd

C, Q, PX = 3, 2, 16
SMALL = {"channels": (8, 8, 8, 8), "stem_width": 8}


@pytest.fixture(autouse=True)
def save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoint, "every_s", 0.0)


def recipe(**changes: Any) -> Recipe:
    small = {
        "image_px": PX,
        "resize_px": PX,
        "stored_px": PX,
        "epochs": 4,
        "batch_size": 8,
        "milestones": [3],
        "lr": 0.05,
    }
    return Recipe.model_validate(read_params()["train"] | small | changes)


def run(**changes: Any) -> Run:
    base = Run(n_classes=C, recipe=recipe(), seed=0, fabric=make_fabric("cpu", "32-true"), alpha=1.0)
    return dataclasses.replace(base, **changes)


def student(n_aspects: int = Q) -> nn.Module:
    return build_student("resnet10t", C, n_aspects, seed=0, model_args=SMALL)


def pixels_labels_answers(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of classes 0, 1, 2 are bright in red, green, blue; the questions: is it class 0, is it not class 2?"""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % C
    pixels = rng.integers(0, 120, (n, 3, PX, PX), dtype=np.uint8)
    pixels[np.arange(n), labels] += 100
    answers = np.stack([labels == 0, labels != 2], axis=1) * 0.8 + 0.1
    return torch.from_numpy(pixels), torch.from_numpy(labels), torch.from_numpy(answers.astype(np.float32))


def train_set(n: int = 41, n_aspects: int = Q) -> TrainingExamples:
    pixels, labels, p_yes = pixels_labels_answers(n)
    return TrainingExamples(pixels, np.ones(n, dtype=np.float32), labels, p_yes[:, :n_aspects])


def val_set(n: int = 12, n_aspects: int = Q) -> Examples:
    pixels, labels, p_yes = pixels_labels_answers(n, seed=1)
    return Examples(pixels, labels, p_yes[:, :n_aspects])


class Silent(EpochProgress):
    def __init__(self) -> None:
        super().__init__("", shown=False)


def fitted(
    run: Run, *, n_aspects: int = Q, key: str = "key", progress: EpochProgress | None = None
) -> tuple[nn.Module, History]:
    built = student(n_aspects)
    checkpoint = Checkpoint(key)
    history = fit(
        built, train_set(n_aspects=n_aspects), val_set(n_aspects=n_aspects), run, checkpoint, progress or Silent()
    )
    checkpoint.delete()
    return built, history


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    expected = second.state_dict()
    for key, value in first.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_student_learns_classes_and_aspects() -> None:
    built, history = fitted(run(recipe=recipe(epochs=20, milestones=[16])))
    assert [row["epoch"] for row in history] == list(range(1, 21))
    assert [row["lr"] for row in history] == pytest.approx([0.05] * 16 + [0.005] * 4)
    assert history[-1]["train_accuracy"] > 0.95
    assert history[-1]["val_accuracy"] == 1
    assert history[-1]["val_aspect_bce"] < 0.45 < history[0]["val_aspect_bce"]  # the answers' own entropy is 0.325
    logits = predict(built, val_set().pixels, run().fabric)
    assert (split_logits(logits, C)[0].argmax(dim=1) == val_set().labels).all()


def test_rate_of_the_schedule_is_the_one_that_is_used() -> None:
    one_epoch = fitted(run(recipe=recipe(epochs=1)))[0].state_dict()
    then_standing = fitted(run(recipe=recipe(epochs=3, milestones=[1], gamma=1e-9)))[0].state_dict()
    going_on = fitted(run(recipe=recipe(epochs=3)))[0].state_dict()
    torch.testing.assert_close(then_standing["fc.weight"], one_epoch["fc.weight"], atol=1e-6, rtol=0)
    assert (going_on["fc.weight"] - one_epoch["fc.weight"]).abs().max() > 1e-3


def test_total_in_the_history_is_classes_plus_alpha_aspects() -> None:
    for row in fitted(run(alpha=3.0, recipe=recipe(epochs=2)))[1]:
        assert row["train_loss"] == pytest.approx(row["train_class_loss"] + 3 * row["train_aspect_loss"], rel=1e-5)


def test_same_seed_repeats_weights_and_history_and_another_does_not() -> None:
    first, again, other = fitted(run()), fitted(run()), fitted(run(seed=1))
    assert_same_weights(first[0], again[0])
    assert first[1] == again[1]
    assert first[1] != other[1]


def test_alpha_0_is_the_baseline_bit_for_bit() -> None:
    makd, makd_history = fitted(run(alpha=0.0))
    baseline, history = fitted(run(alpha=0.0), n_aspects=0)
    weights = makd.state_dict()
    for key, value in baseline.state_dict().items():
        assert torch.equal(value, weights[key][:C] if key.startswith("fc.") else weights[key]), key
    for with_aspects, plain in zip(makd_history, history, strict=True):
        for key in ("train_loss", "train_class_loss", "train_accuracy", "val_accuracy"):
            assert with_aspects[key] == plain[key]


def test_alpha_matters() -> None:
    first, second = (fitted(run(alpha=alpha))[0].state_dict()["fc.weight"] for alpha in (1.0, 2.0))
    assert not torch.equal(first[:C], second[:C])


class InterruptedAfter(Silent):
    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.stop_at = epochs

    def epoch_done(self, **numbers: float) -> None:
        super().epoch_done(**numbers)
        if self.done == self.stop_at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_interrupted_run_ends_as_an_undisturbed_one(epochs: int) -> None:
    expected, expected_history = fitted(run(), key="undisturbed")
    with pytest.raises(KeyboardInterrupt):
        fitted(run(), progress=InterruptedAfter(epochs))
    torch.manual_seed(99)
    resumed = Silent()
    got, history = fitted(run(), progress=resumed)
    assert resumed.first == epochs
    assert_same_weights(got, expected)
    assert history == expected_history


def test_dropout_of_a_resumed_run_repeats() -> None:
    def dropping() -> nn.Module:
        return build_student("resnet10t", C, Q, seed=0, model_args=SMALL | {"drop_rate": 0.5})

    students = [dropping(), dropping()]
    fit(students[0], train_set(), val_set(), run(), Checkpoint("a"), Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(dropping(), train_set(), val_set(), run(), Checkpoint("b"), InterruptedAfter(2))
    fit(students[1], train_set(), val_set(), run(), Checkpoint("b"), Silent())
    assert_same_weights(*students)


CUTS = [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (1, 4, [1]), (5, 9, [5])]


@pytest.mark.parametrize(("n", "size", "expected"), CUTS)
def test_batches_hold_every_image_once_and_never_one_alone(n: int, size: int, expected: list[int]) -> None:
    parts = batches(np.random.default_rng(0).permutation(n), size)
    assert [len(part) for part in parts] == expected
    assert sorted(np.concatenate(parts)) == list(range(n))


class Seen(NamedTuple):
    """What an epoch showed to the student, in its order: rows of the training set, and their crops."""

    rows: Int64[Tensor, " images"]
    crops: Crops


@pytest.fixture
def epochs_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Seen]]:
    """Two epochs of 41 images, by the seed of the run alone."""
    sums = train_set().pixels.flatten(1).long().sum(dim=1)
    seen: list[Seen] = []

    def spy(pixels: Tensor, crops: Crops, out_px: int) -> Tensor:
        of_images = pixels.flatten(1).long().sum(dim=1)
        seen.append(Seen((of_images[:, None] == sums).int().argmax(dim=1), crops))
        return crop_and_resize(pixels, crops, out_px)

    def shown(seed: int) -> list[Seen]:
        seen.clear()
        fitted(run(seed=seed, recipe=recipe(epochs=2)))
        assert len(seen) == 10  # in batches of 8, the last image joins the fifth batch
        return [join(seen[:5]), join(seen[5:])]

    def join(batches: list[Seen]) -> Seen:
        boxes, flips = (torch.cat(parts) for parts in zip(*(batch.crops for batch in batches), strict=True))
        return Seen(torch.cat([batch.rows for batch in batches]), Crops(boxes, flips))

    assert len(set(sums.tolist())) == len(sums) == 41
    monkeypatch.setattr(training, "crop_and_resize", spy)
    return shown


def test_every_image_is_seen_once_an_epoch_in_an_order_of_its_own(epochs_of: Callable[[int], list[Seen]]) -> None:
    first, second = epochs_of(0)
    for epoch in (first, second):
        assert sorted(epoch.rows.tolist()) == list(range(41))
    assert not torch.equal(first.rows, second.rows)


def test_order_is_drawn_from_the_seed(epochs_of: Callable[[int], list[Seen]]) -> None:
    orders = [epochs_of(seed)[0].rows for seed in (1, 1, 2)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


@pytest.mark.parametrize("seed", [1, 2])
def test_every_image_has_the_crop_and_flip_that_seed_and_epoch_draw_for_it(
    epochs_of: Callable[[int], list[Seen]], seed: int
) -> None:
    for number, epoch in enumerate(epochs_of(seed)):
        scale_min = recipe().crop_scale_min
        drawn = Crops.draw(train_set().aspect_ratios, scale_min=scale_min, seed=seed, epoch=number)
        assert torch.equal(epoch.crops.boxes, drawn.boxes[epoch.rows])
        assert torch.equal(epoch.crops.flips, drawn.flips[epoch.rows])


def test_the_student_sees_the_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = fitted(run(recipe=recipe(epochs=1)))[0].state_dict()["fc.weight"]
    monkeypatch.setattr(training, "crop_and_resize", lambda pixels, *_: pixels.float())
    assert not torch.equal(fitted(run(recipe=recipe(epochs=1)))[0].state_dict()["fc.weight"], usual)


def test_progress_shows_both_parts_of_the_last_epochs_loss(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = fitted(run(alpha=3.0, recipe=recipe(epochs=1)), progress=EpochProgress("", shown=True))[1]
    parts = f"class loss {row['train_class_loss']:.3f}, aspect loss {row['train_aspect_loss']:.3f}, val accuracy "
    assert parts in capsys.readouterr().err


def test_batch_norm_counts_every_batch_of_every_epoch() -> None:
    assert fitted(run(recipe=recipe(epochs=2)))[0].state_dict()["bn1.num_batches_tracked"] == 10


@pytest.mark.parametrize(("nesterov", "expected"), [(False, [0.89, 0.7261]), (True, [0.835, 0.644975])])
def test_two_steps_of_the_optimizer_worked_out_by_hand(nesterov: bool, expected: list[float]) -> None:
    # w = 1 and a gradient of 1: d = 1 + 0.1 w, the momentum m = 0.5 m + d, at first d; w falls by 0.1 m, or with
    # Nesterov by 0.1 (d + 0.5 m): 1.1 and 1.089 + 0.55, or 1.1 + 0.55 and 1.0835 + 0.5 (0.55 + 1.0835)
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = sgd(layer, recipe(lr=0.1, momentum=0.5, nesterov=nesterov, weight_decay=0.1))
    weights = []
    for _ in range(2):
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
        weights.append(layer.weight.item())
    assert weights == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_loss_that_is_not_finite_names_epoch_batch_and_rate() -> None:
    broken = train_set()
    broken.p_yes[:] = math.inf
    with pytest.raises(UserError, match=r"not finite from batch 1 of epoch 1 on, at a learning rate of 0\.05; lower"):
        fit(student(), broken, val_set(), run(), Checkpoint("key"), Silent())
    assert Checkpoint("key").load() is None
    with pytest.raises(UserError, match=r"not finite from batch \d of epoch \d+ on, at a learning rate of 1e\+30"):
        fitted(run(recipe=recipe(lr=1e30)))


def test_validation_knows_missing_answers_and_missing_images() -> None:
    unasked, empty = val_set(), val_set(0)
    unasked.p_yes[:] = math.nan
    history = fit(student(), train_set(), unasked, run(), Checkpoint("a"), Silent())
    assert math.isnan(history[-1]["val_aspect_bce"])
    assert history[-1]["val_accuracy"] > 0
    history = fit(student(), train_set(), empty, run(), Checkpoint("b"), Silent())
    assert math.isnan(history[-1]["val_accuracy"])
    assert math.isnan(history[-1]["val_aspect_bce"])
    assert "val_aspect_bce" not in fitted(run(alpha=0.0), n_aspects=0)[1][-1]


def test_unanswered_training_images_are_trained_on_for_their_class() -> None:
    unanswered = train_set()
    unanswered.p_yes[:] = math.nan
    history = fit(student(), unanswered, val_set(), run(alpha=10.0), Checkpoint("key"), Silent())
    assert history[-1]["train_aspect_loss"] == 0
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_prediction_drops_no_image_and_uses_no_batch_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    built, pixels, fabric = student(), val_set(13).pixels, make_fabric("cpu", "32-true")
    whole = predict(built, pixels, fabric)
    monkeypatch.setattr(training, "EVALUATION_BATCH", 4)
    torch.testing.assert_close(predict(built, pixels, fabric), whole)
    assert whole.shape == (13, C + Q)
    assert predict(built, pixels[:0], fabric).shape == (0, C + Q)


def test_bfloat16_trains_and_predicts_in_float32() -> None:
    half = run(fabric=make_fabric("cpu", "bf16-mixed"), recipe=recipe(precision="bf16-mixed"))
    built, history = fitted(half)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert {value.dtype for value in built.state_dict().values()} <= {torch.float32, torch.int64}
    assert predict(built, val_set().pixels, half.fabric).dtype == torch.float32


def test_deterministic_mode_is_left_as_it_was() -> None:
    fitted(run(recipe=recipe(epochs=1)))
    assert not torch.are_deterministic_algorithms_enabled()


class PressesCtrlC(Silent):
    """In the middle of the second epoch's end."""

    def epoch_done(self, **numbers: float) -> None:
        super().epoch_done(**numbers)
        if self.done == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_after_the_epoch_and_the_rerun_goes_on_to_the_same_weights() -> None:
    undisturbed, history = fitted(run(), key="undisturbed")
    with pytest.raises(KeyboardInterrupt):
        fitted(run(), key="stopped", progress=PressesCtrlC())
    state = Checkpoint("stopped").load()
    assert state is not None
    assert len(state["history"]) == 2
    resumed, whole = fitted(run(), key="stopped")
    assert whole == history
    assert_same_weights(resumed, undisturbed)


def test_epochs_done_before_are_logged_too() -> None:
    seen: list[int | float] = []
    checkpoint = Checkpoint("logged")
    for epochs in (2, 4):
        fit(
            student(),
            train_set(),
            val_set(),
            run(recipe=recipe(epochs=epochs)),
            checkpoint,
            Silent(),
            log=lambda row: seen.append(row["epoch"]),
        )
    assert seen == [1, 2, 1, 2, 3, 4]


class Oracle:
    """A teacher that knows the labels, also where the student is told others."""

    def __init__(self, labels: Tensor, sure: float) -> None:
        self.scores = sure * torch.nn.functional.one_hot(labels, C).float()

    def logits(self, rows: Int64[np.ndarray, " batch"], images: Tensor) -> Tensor:
        return self.scores[rows]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kd", "dkd"])
def test_a_teacher_of_the_classes_is_followed(method: str) -> None:
    wrong = dataclasses.replace(train_set(n_aspects=0), labels=(train_set().labels + 1) % C)
    kd = Kd.model_validate(
        read_params()["kd"]
        | {
            "source": "classifier",
            "method": method,
            "weight": 2.0,
            "temperature": 1.0,
            "dkd_beta": 1.0,
            "dkd_warmup_epochs": 0,
        }
    )
    taught = run(
        recipe=recipe(epochs=40, milestones=[30], lr=0.02),
        alpha=0.0,
        kd=kd,
        teacher=Oracle(train_set().labels, sure=6.0),
    )
    built = student(0)
    history = fit(built, wrong, val_set(n_aspects=0), taught, Checkpoint(method), Silent())
    assert history[-1]["val_accuracy"] > 0.9  # of the labels that only the teacher knows
    assert history[-1]["train_kd_loss"] < history[0]["train_kd_loss"]
    last = history[-1]
    assert last["train_loss"] == pytest.approx(last["train_class_loss"] + 2 * last["train_kd_loss"], rel=1e-5)


def test_a_weight_of_0_is_no_distillation() -> None:
    kd = Kd.model_validate(read_params()["kd"] | {"source": "classifier", "weight": 0.0})
    plain, _ = fitted(run())
    weightless, _ = fitted(run(kd=kd, teacher=Oracle(train_set().labels, sure=6.0)))
    for key, value in weightless.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[key], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_student_learns_the_same() -> None:
    plain, _ = fitted(run(recipe=recipe(epochs=1)))
    compiled, _ = fitted(run(recipe=recipe(epochs=1, compile=True)))
    for key, value in compiled.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[key], rtol=1e-3, atol=1e-4)
