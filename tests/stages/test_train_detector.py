"""Detectors on seven small pictures: the loss, both arms, kills, and what alpha 0 is."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from makd.detection_pictures import batch_rows, boxed_pictures, loaded
from makd.detection_recipe import AspectFeatures
from makd.detection_training import DetectorLosses, detector_losses
from makd.detectors import build_detector, build_plain
from makd.errors import UserError
from makd.params import validate
from makd.seeding import derived_seed
from stages import train_detector as stage
from stages.train_detector import BaselineParams, Params, train_detector
from tests.made_up_detection import (
    CATEGORIES,
    MODEL,
    QUESTIONS,
    RUNTIME,
    TABLES,
    detection_params,
    prepare,
    recipe,
    tables_of,
    write_answers,
)

PLAIN_FILES = ["config.json", "detections.json", "history.csv", "model.safetensors"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(detection_params()))
    prepare()
    write_answers()


def run(out: str, arm: str = "makd", *, seed: int = 0, **changes: Any) -> Path:
    params_class = Params if arm == "makd" else BaselineParams
    known = {key: value for key, value in (detection_params() | changes).items() if key in params_class.model_fields}
    answers = {"manifest": Path("manifest.parquet"), "aspects": Path("aspects.parquet")} if arm == "makd" else {}
    tables = {name: Path(f"{name}.parquet") for name in TABLES}
    train_detector(validate(params_class, known), RUNTIME, model=MODEL, seed=seed, **tables, **answers, out=Path(out))
    return Path(out)


def test_the_loss_is_torchvisions_plus_alpha_times_the_mean_bce() -> None:
    losses = {"loss_classifier": torch.tensor(1.0), "loss_box_reg": torch.tensor(0.5)}
    logits = torch.tensor([[0.0, math.log(3)], [7.0, -math.log(3)]])
    p_yes = torch.tensor([[1.0, 0.5], [math.nan, 0.0]])
    # BCE by hand: -log 0.5; -(log 0.75 + log 0.25) / 2; none; -log 0.75
    bce = (math.log(2) - (math.log(0.75) + math.log(0.25)) / 2 - math.log(0.75)) / 3
    found = detector_losses(losses, logits, p_yes, alpha=2.0)
    assert [value.item() for value in found] == pytest.approx([1.5 + 2 * bce, 1.5, bce])
    assert detector_losses(losses, logits, p_yes, alpha=0.0).total.item() == 1.5
    nothing = detector_losses(losses, logits, torch.full((2, 2), math.nan), alpha=2.0)
    assert [value.item() for value in nothing] == [1.5, 1.5, 0.0]


def test_both_arms_write_what_evaluation_reads() -> None:
    makd, baseline = run("makd"), run("baseline", "baseline")
    assert sorted(path.name for path in baseline.iterdir()) == PLAIN_FILES
    extra = ["aspect_head.safetensors", "aspects.parquet"]
    assert sorted(path.name for path in makd.iterdir()) == sorted([*PLAIN_FILES, *extra])
    plain, ours = (load_file(folder / "model.safetensors") for folder in (baseline, makd))
    assert {name: values.shape for name, values in ours.items()} == {name: v.shape for name, v in plain.items()}
    assert not torch.equal(ours["backbone.body.0.0.weight"], plain["backbone.body.0.0.weight"]), "aspects reach it"
    history = pd.read_csv(makd / "history.csv")
    assert list(history["iteration"]) == [2, 4]
    np.testing.assert_allclose(history["loss"], history["detection_loss"] + 2 * history["aspect_loss"], rtol=1e-4)
    test = tables_of("test").pictures
    p_yes = pd.read_parquet(makd / "aspects.parquet")
    assert list(p_yes.columns) == ["image_id", *QUESTIONS]
    assert list(p_yes["image_id"]) == list(test["image_id"])
    found = json.loads((makd / "detections.json").read_text())
    assert {one["image_id"] for one in found} <= set(test["coco_id"])
    assert "alpha" not in json.loads((baseline / "config.json").read_text())["params"]


def test_alpha_0_is_the_plain_torchvision_detector_bit_for_bit() -> None:
    makd, baseline = run("makd", seed=1, alpha=0.0), run("baseline", "baseline", seed=1)
    for name in ("model.safetensors", "detections.json"):
        assert (makd / name).read_bytes() == (baseline / name).read_bytes(), name
    assert all(torch.equal(load_file(baseline / "model.safetensors")[name], v) for name, v in by_hand(seed=1).items())


def by_hand(seed: int) -> dict[str, Tensor]:
    """The same training of a detector that is torchvision's and nothing else."""
    rule, found = recipe(), tables_of("train")
    torch.manual_seed(derived_seed(seed, "detector"))
    plain = build_plain(MODEL, len(found.names), rule)
    optimizer = torch.optim.SGD(plain.parameters(), lr=rule.lr, momentum=0.9, weight_decay=rule.weight_decay)
    pictures = boxed_pictures(found)
    torch.use_deterministic_algorithms(True, warn_only=True)
    for i in range(rule.iterations):
        rows = batch_rows(len(pictures), rule.batch_size, seed, i)
        images, targets = loaded(pictures, rows, flip=rule.flip, seed=seed, iteration=i)
        torch.manual_seed(derived_seed(seed, "samples", i))
        optimizer.param_groups[0]["lr"] = rule.lr_of(i)
        optimizer.zero_grad()
        sum(plain(images, targets).values()).backward()
        optimizer.step()
    torch.use_deterministic_algorithms(False)
    return dict(plain.state_dict())


@pytest.mark.parametrize(("targets", "empty_pictures"), [("mllm", True), ("mllm", False), ("class_mean", True)])
def test_each_picture_is_trained_towards_its_own_answers(
    targets: str, empty_pictures: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_towards = []

    def watched(losses: Any, logits: Tensor, p_yes: Tensor, *, alpha: float) -> DetectorLosses:
        trained_towards.append(p_yes.numpy())
        return detector_losses(losses, logits, p_yes, alpha=alpha)

    monkeypatch.setattr("makd.detection_training.detector_losses", watched)
    block = detection_params()["train_detector"] | {"empty_pictures": empty_pictures}
    run("out", seed=1, aspect_targets=targets, train_detector=block)
    pictures = [p.image_id for p in boxed_pictures(tables_of("train")) if empty_pictures or len(p.labels)]
    answers = pd.read_parquet("aspects.parquet").set_index("image_id").loc[pictures]
    if targets == "class_mean":
        answers[QUESTIONS] = answers.groupby("label")[QUESTIONS].transform("mean")
    for iteration, found in enumerate(trained_towards):
        expected = answers[QUESTIONS].iloc[batch_rows(len(pictures), 2, 1, iteration)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(trained_towards) == recipe().iterations


@pytest.mark.parametrize("features", ["c5", "fpn"])
def test_p_yes_is_what_the_saved_weights_give(features: AspectFeatures) -> None:
    out = run("out", aspect_features=features)
    detector = build_detector(MODEL, len(CATEGORIES), len(QUESTIONS), recipe(), seed=9, features=features).eval()
    detector.plain.load_state_dict(load_file(out / "model.safetensors"))
    assert detector.aspect_head is not None
    detector.aspect_head.load_state_dict(load_file(out / "aspect_head.safetensors"))
    with torch.inference_mode():
        logits = [detector([one.pixels() / 255]).aspect_logits for one in boxed_pictures(tables_of("test"))]
    p_yes = pd.read_parquet(out / "aspects.parquet")[QUESTIONS]
    np.testing.assert_allclose(p_yes, torch.cat(logits).sigmoid(), rtol=1e-5)


def test_a_checkpoint_is_that_of_params_data_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []

    def key(*arguments: Any, **changes: Any) -> str:
        with pytest.raises(KeyboardInterrupt):
            run("out", *arguments, **changes)
        return keys.pop()

    def stop(key: str) -> None:
        keys.append(key)
        raise KeyboardInterrupt

    monkeypatch.setattr("makd.checkpoints.Checkpoint", stop)
    first = key()
    others = [key("baseline"), key(seed=1), key(alpha=1.0), key(aspect_targets="shuffled"), key(aspect_features="fpn")]
    for place in ("makd.detection_training.CODE_VERSION", "torchvision.__version__", "torch.__version__"):
        with monkeypatch.context() as context:
            context.setattr(place, "another")
            others.append(key())
    for name in (*TABLES, "aspects"):
        table = Path(f"{name}.parquet")
        before = table.read_bytes()
        pd.read_parquet(table).iloc[::-1].to_parquet(table)
        others.append(key())
        table.write_bytes(before)
    assert key() == first
    assert len({first, *others}) == 1 + len(others)


KILLED = """
import os, signal
from makd import checkpoints, detection_training
checkpoints.Checkpoint.every_s = 0.0
loaded, batches = detection_training.loaded, []
def killing(*arguments, **named):
    batches.append(0)
    if len(batches) == 4:  # two a row: in the middle of the second row
        os.kill(os.getpid(), signal.SIGKILL)
    return loaded(*arguments, **named)
detection_training.loaded = killing
from stages.train_detector import main
main()
"""
COMMAND = [
    "makd",
    MODEL,
    "0",
    *(word for name in (*TABLES, "manifest", "aspects") for word in (f"--{name}", f"{name}.parquet")),
]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(own_cache: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": os.fspath(ROOT)}
    command = [sys.executable, "-c", KILLED, *COMMAND, "--out", "out"]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    (checkpoint,) = own_cache.rglob("last.pt")
    assert len(torch.load(checkpoint, weights_only=True)["history"]) == 1
    resumed, undisturbed = run("out"), run("undisturbed")
    for file in undisturbed.iterdir():
        assert (resumed / file.name).read_bytes() == file.read_bytes(), file.name
    assert not checkpoint.exists()


ROOT = Path(stage.__file__).parents[1]


def test_a_loss_that_is_not_finite_is_said() -> None:
    with pytest.raises(UserError, match=r"not finite from iteration \d+ on; lower train_detector.lr"):
        run("out", "baseline", train_detector=detection_params()["train_detector"] | {"lr": 1e30, "warmup": 0})


def test_other_answers_than_asked_for_are_refused() -> None:
    with pytest.raises(UserError, match="has 2 questions, n_questions is 3"):
        run("out", n_questions=3)
