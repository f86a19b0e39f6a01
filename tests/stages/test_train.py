"""The train stage on twenty-seven small pictures: what it writes, that it repeats it, survives kills, and refuses."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from makd import training
from makd.aspects import KEY_COLUMNS
from makd.augment import crop_and_resize
from makd.checkpoints import Checkpoint
from makd.class_scores import class_columns
from makd.errors import UserError, one_line_errors
from makd.examples import Examples, TrainingExamples
from makd.manifest import read_manifest, write_manifest
from makd.params import read_params, validate
from makd.pictures import image_id
from makd.runtime import Runtime
from makd.students import build_student, load_student
from makd.training import History, Run
from stages.train import BaselineParams, Params, TeacherParams, key_of, main, train, train_teacher

CLASSES, PX, MODEL = ["auk", "owl", "tit"], 16, "resnet10t"
QUESTIONS = ["Does it hoot?", "Is it black and white?"]
FILES = ["config.json", "history.csv", "model.safetensors", "predictions.parquet"]
SPLITS = {"train": 5, "val": 2, "test": 2}
RUNTIME = Runtime(device="cpu", workers=0, progress=False)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with params, pictures, manifest and answers."""
    params = read_params()
    params["train"] |= {
        "image_px": PX,
        "resize_px": PX,
        "stored_px": PX,
        "epochs": 4,
        "batch_size": 4,
        "milestones": [3],
    }
    params["train"]["model_args"] = {MODEL: {"channels": [8, 8, 8, 8], "stem_width": 8}}
    params |= {"n_questions": len(QUESTIONS), "alpha": 4.0, "runtime": RUNTIME.model_dump()}
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    rng = np.random.default_rng(0)
    rows = []
    for split, n in SPLITS.items():
        for i in range(n * len(CLASSES)):
            path, label = f"pictures/{split}{i}.png", i % len(CLASSES)
            Path(path).parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (PX, PX, 3), dtype=np.uint8)).save(path)
            rows.append([image_id(Path(path).read_bytes()), path, split, label, CLASSES[label]])
    manifest = pd.DataFrame(rows, columns=list(KEY_COLUMNS))
    write_manifest(manifest, Path("manifest.parquet"))
    answers = rng.random((len(manifest), len(QUESTIONS)), dtype=np.float32)
    answers[3] = np.nan
    pd.concat([manifest, pd.DataFrame(answers, columns=QUESTIONS)], axis=1).to_parquet("aspects.parquet")
    return tmp_path


def run(
    out: str,
    arm: str = "makd",
    *,
    seed: int = 0,
    runtime: Runtime = RUNTIME,
    teacher: Path | None = None,
    **changes: Any,
) -> Path:
    known = {key: value for key, value in read_params().items() if key in Params.model_fields} | changes
    if arm == "baseline":
        known = {key: value for key, value in known.items() if key in BaselineParams.model_fields}
    train(
        validate(Params if arm == "makd" else BaselineParams, known),
        runtime,
        model=MODEL,
        seed=seed,
        manifest=Path("manifest.parquet"),
        aspects=Path("aspects.parquet") if arm == "makd" else None,
        teacher=teacher,
        out=Path(out),
    )
    return Path(out)


def assert_same_files(first: Path, second: Path) -> None:
    assert sorted(file.name for file in first.iterdir()) == sorted(file.name for file in second.iterdir()) == FILES
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_predictions_hold_every_val_and_test_image(project: Path) -> None:
    predictions = pd.read_parquet(run("out") / "predictions.parquet")
    manifest = read_manifest(Path("manifest.parquet"))
    expected = manifest[manifest["split"] != "train"].reset_index(drop=True)
    pd.testing.assert_frame_equal(predictions[list(KEY_COLUMNS)], expected)
    classes, aspects = [f"class: {name}" for name in CLASSES], [f"aspect: {question}" for question in QUESTIONS]
    assert list(predictions.columns) == [*KEY_COLUMNS, "predicted", *classes, *aspects]
    np.testing.assert_allclose(predictions[classes].sum(axis=1), 1, rtol=1e-5)
    assert predictions[aspects].stack().between(0, 1).all()
    assert list(predictions["predicted"]) == [CLASSES[i] for i in predictions[classes].to_numpy().argmax(axis=1)]


def test_config_tells_what_is_needed_to_use_the_student() -> None:
    config = json.loads((run("out", seed=3) / "config.json").read_text())
    assert config["classes"] == CLASSES
    assert config["questions"] == QUESTIONS
    assert config["mean"] == [0.485, 0.456, 0.406]
    assert {key: config[key] for key in ("model", "arm", "seed", "image_px", "resize_px")} == {
        "model": MODEL, "arm": "makd", "seed": 3, "image_px": PX, "resize_px": PX,
    }  # fmt: skip
    assert config["params"]["alpha"] == 4.0
    assert "alpha" not in json.loads((run("baseline", "baseline") / "config.json").read_text())["params"]


def test_saved_student_gives_the_predictions_that_were_written() -> None:
    out = run("out")
    student, _ = load_student(out)
    predictions = pd.read_parquet(out / "predictions.parquet")
    pixels = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in predictions["path"]])
    logits = training.predict(student, torch.from_numpy(pixels), training.make_fabric("cpu", "32-true"))
    probabilities = logits[:, : len(CLASSES)].softmax(dim=1)
    np.testing.assert_allclose(probabilities, predictions[[f"class: {name}" for name in CLASSES]], atol=1e-6)


def test_history_has_a_row_an_epoch_and_no_seconds() -> None:
    history = pd.read_csv(run("makd") / "history.csv")
    columns = ["epoch", "lr", "train_loss", "train_class_loss", "train_aspect_loss", "train_accuracy", "val_accuracy"]
    assert list(history.columns) == [*columns, "val_aspect_bce"]
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert list(pd.read_csv(run("baseline", "baseline") / "history.csv").columns) == columns


@pytest.mark.parametrize("arm", ["makd", "baseline"])
def test_same_seed_gives_the_same_bytes_and_leaves_no_checkpoint(arm: str, own_cache: Path) -> None:
    assert_same_files(run("first", arm), run("again", arm))
    assert (run("other", arm, seed=1) / "model.safetensors").read_bytes() != Path(
        "first/model.safetensors"
    ).read_bytes()
    assert not [file for file in own_cache.rglob("*") if file.is_file() and "pictures" not in file.parts]


def test_alpha_0_gives_backbone_and_class_rows_of_the_baseline_bit_for_bit() -> None:
    makd, baseline = (load_file(run(arm, arm, alpha=0.0) / "model.safetensors") for arm in ("makd", "baseline"))
    assert makd.keys() == baseline.keys()
    for key, value in baseline.items():
        assert torch.equal(value, makd[key][: len(CLASSES)] if key.startswith("fc.") else makd[key]), key
    first, second = (pd.read_parquet(f"{arm}/predictions.parquet") for arm in ("makd", "baseline"))
    pd.testing.assert_frame_equal(first[second.columns], second)


@pytest.mark.parametrize("targets", ["random", "class_mean", "shuffled"])
def test_controls_change_the_student_and_never_see_test_answers(targets: str) -> None:
    assert (run("mllm") / "model.safetensors").read_bytes() != (
        run("control", aspect_targets=targets) / "model.safetensors"
    ).read_bytes()
    answers = pd.read_parquet("aspects.parquet")
    answers.loc[answers["split"] != "train", QUESTIONS] = 0.5
    answers.to_parquet("aspects.parquet")
    again = run("again", aspect_targets=targets)
    for name in ("model.safetensors", "predictions.parquet"):
        assert (again / name).read_bytes() == Path("control", name).read_bytes()


class Fitting(NamedTuple):
    student: dict[str, Tensor]
    train_set: TrainingExamples
    val_set: Examples
    run: Run


@pytest.fixture
def asked_to_fit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fitting]:
    """A run that trains nothing, and what it would have trained."""
    seen: list[Fitting] = []

    def spy(student: nn.Module, train_set: TrainingExamples, val_set: Examples, its_run: Run, *_: object) -> History:
        seen.append(Fitting(student.state_dict(), train_set, val_set, its_run))
        return []

    def asked(arm: str = "makd", **changes: Any) -> Fitting:
        run("out", arm, **changes)
        return seen[-1]

    monkeypatch.setattr(training, "fit", spy)
    return asked


def test_every_image_has_its_own_label_and_answers(asked_to_fit: Callable[..., Fitting]) -> None:
    answers = pd.read_parquet("aspects.parquet")
    answers.sample(frac=1, random_state=0).to_parquet("aspects.parquet")  # the manifest has the order, not this table
    by_path = answers.set_index("path")
    _, train_set, val_set, _ = asked_to_fit()
    manifest = read_manifest(Path("manifest.parquet"))
    for examples, split in ((train_set, "train"), (val_set, "val")):
        paths = manifest.loc[manifest["split"] == split, "path"]
        assert examples.labels.tolist() == list(by_path.loc[paths, "label"])
        np.testing.assert_array_equal(examples.p_yes, by_path.loc[paths, QUESTIONS])
        pixels = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])
        np.testing.assert_array_equal(examples.pixels, pixels)


def test_train_fraction_is_of_the_training_images_alone(asked_to_fit: Callable[..., Fitting]) -> None:
    _, train_set, val_set, _ = asked_to_fit(train_fraction=0.4)
    assert train_set.labels.bincount().tolist() == [2, 2, 2]
    assert len(val_set.labels) == 6
    assert len(pd.read_parquet("out/predictions.parquet")) == 12


@pytest.mark.parametrize("seed", [0, 3])
def test_train_fraction_gives_both_arms_the_same_images(asked_to_fit: Callable[..., Fitting], seed: int) -> None:
    makd, baseline = (asked_to_fit(arm, seed=seed, train_fraction=0.4).train_set for arm in ("makd", "baseline"))
    assert torch.equal(makd.pixels, baseline.pixels)
    assert torch.equal(makd.labels, baseline.labels)


def test_the_seed_is_that_of_the_weights_and_of_the_run(asked_to_fit: Callable[..., Fitting]) -> None:
    recipe = validate(Params, {key: read_params()[key] for key in Params.model_fields}).train
    for arm, n_aspects in (("makd", len(QUESTIONS)), ("baseline", 0)):
        for seed in (0, 3):
            asked = asked_to_fit(arm, seed=seed)
            built = build_student(MODEL, len(CLASSES), n_aspects, seed=seed, model_args=recipe.args_of(MODEL))
            assert all(torch.equal(value, asked.student[key]) for key, value in built.state_dict().items())
            assert asked.run.seed == seed


@pytest.mark.parametrize("targets", ["random", "shuffled"])
def test_controls_are_drawn_from_the_seed(asked_to_fit: Callable[..., Fitting], targets: str) -> None:
    drawn = [asked_to_fit(aspect_targets=targets, seed=seed).train_set.p_yes for seed in (0, 1)]
    assert not torch.equal(drawn[0].nan_to_num(), drawn[1].nan_to_num())


def test_kl_trains_another_student() -> None:
    assert (run("kl", aspect_loss="kl") / "model.safetensors").read_bytes() != (
        run("bce") / "model.safetensors"
    ).read_bytes()


KILLED = """
import os, signal
from makd import checkpoints, training
checkpoints.Checkpoint.every_s = 0.0
crop_and_resize, batches = training.crop_and_resize, []
def killing(*arguments):
    batches.append(0)
    if len(batches) == 10:  # four batches an epoch: in the middle of the third epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return crop_and_resize(*arguments)
training.crop_and_resize = killing
from makd.training import fit
from stages.train import main
main()
"""
COMMAND = ["makd", MODEL, "0", "--manifest", "manifest.parquet", "--aspects", "aspects.parquet"]
COMMAND += ["--teacher", "teacher", "--out", "out"]


@pytest.mark.slow
def test_killed_run_goes_on_and_ends_with_the_same_bytes(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(root)}
    killed = subprocess.run([sys.executable, "-c", KILLED, *COMMAND], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not Path("out").exists()
    (checkpoint,) = own_cache.rglob("last.pt")
    assert len(torch.load(checkpoint, weights_only=True)["history"]) == 2
    resumed = run("out", runtime=RUNTIME.model_copy(update={"progress": True}))
    assert "resuming after epoch 2" in capsys.readouterr().err
    undisturbed = run("undisturbed")
    assert_same_files(resumed, undisturbed)
    assert not checkpoint.exists()


@pytest.fixture
def save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoint, "every_s", 0.0)


def ctrl_c_at_batch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The signal that a terminal sends."""
    seen: list[int] = []

    def interrupting(*arguments: Any) -> Any:
        seen.append(0)
        if len(seen) == number:
            signal.raise_signal(signal.SIGINT)
        return crop_and_resize(*arguments)

    monkeypatch.setattr(training, "crop_and_resize", interrupting)


@pytest.mark.usefixtures("save_every_epoch")
def test_ctrl_c_ends_with_130_and_keeps_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *COMMAND])
    with monkeypatch.context() as context:
        ctrl_c_at_batch(context, 10)  # the third of four epochs
        with pytest.raises(SystemExit) as end, one_line_errors():
            main()
    assert end.value.code == 130
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["warning:", "interrupted;"]
    assert len(list(own_cache.rglob("last.pt"))) == 1
    assert not list(Path().glob("*out*"))
    main()
    assert_same_files(Path("out"), run("undisturbed"))


@pytest.mark.usefixtures("save_every_epoch")
def test_a_run_with_other_inputs_does_not_continue_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run("alpha 1", alpha=1.0)
    with monkeypatch.context() as context:
        ctrl_c_at_batch(context, 10)  # the third of four epochs
        with pytest.raises(KeyboardInterrupt):
            run("alpha 4", alpha=4.0)
    assert_same_files(run("alpha 1 again", alpha=1.0), expected)


def test_checkpoint_is_that_of_params_answers_images_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, aspects, config = Path("manifest.parquet"), Path("aspects.parquet"), {"alpha": 4.0}
    keys = [key_of(config, manifest, aspects), key_of({"alpha": 1.0}, manifest, aspects)]
    keys.append(key_of(config, manifest, None))
    for table in (aspects, manifest):
        before = table.read_bytes()
        pd.read_parquet(table).iloc[::-1].to_parquet(table)
        keys.append(key_of(config, manifest, aspects))
        table.write_bytes(before)
    assert key_of(config, manifest, aspects) == keys[0]
    for place in ("makd.training.CODE_VERSION", "timm.__version__", "torch.__version__"):
        with monkeypatch.context() as context:
            context.setattr(place, "another")
            keys.append(key_of(config, manifest, aspects))
    assert len(set(keys)) == len(keys)


@pytest.mark.usefixtures("save_every_epoch")
def test_damaged_checkpoint_is_warned_of_and_the_run_starts_afresh(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as context:
        ctrl_c_at_batch(context, 10)  # the third of four epochs
        with pytest.raises(KeyboardInterrupt):
            run("out")
    (checkpoint,) = own_cache.rglob("last.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    resumed = run("out")
    assert f"warning: {checkpoint} cannot be read" in capsys.readouterr().err
    assert_same_files(resumed, run("undisturbed"))


def test_former_output_is_replaced_as_a_whole_and_rests_are_cleared() -> None:
    for name in ("out/old", ".out.partial/half"):
        Path(name).parent.mkdir()
        Path(name).touch()
    assert sorted(file.name for file in run("out").iterdir()) == FILES
    assert not Path(".out.partial").exists()


def test_failure_leaves_neither_a_half_written_folder_nor_the_former_one_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    former = {file.name: file.read_bytes() for file in run("out").iterdir()}

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("stages.train.write_parquet", full_disk)
    with pytest.raises(OSError, match="no space"):
        run("out", seed=1)
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == former
    assert not Path(".out.partial").exists()


def test_number_of_questions_must_be_that_of_the_table() -> None:
    with pytest.raises(UserError, match=r"aspects\.parquet has 2 questions, n_questions is 3; run: dvc repro"):
        run("out", n_questions=3)


def set_answers(value: float, rows: slice) -> None:
    table = pd.read_parquet("aspects.parquet")
    table[QUESTIONS] = np.float32(0.5)
    table.loc[rows, QUESTIONS] = np.float32(value)
    table.to_parquet("aspects.parquet")


@pytest.mark.parametrize("targets", ["mllm", "random", "class_mean", "shuffled"])
def test_makd_arm_without_any_answer_is_refused(targets: str) -> None:
    set_answers(np.nan, slice(0, 14))  # the training images are rows 0 to 14
    message = r"aspects\.parquet has no answer about any of the 15 training images, .*run dvc repro --force extract_log"
    with pytest.raises(UserError, match=message) as error:
        run("out", aspect_targets=targets)
    assert "\n" not in str(error.value)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (slice(0, 13), "warning: 28 of the 30 training answers are missing (93.3%)\n"),
        (slice(0, 0), "warning: 2 of the 30 training answers are missing (6.7%)\n"),
        (slice(15, 20), ""),  # validation images
    ],
)
def test_missing_answers_are_counted(
    asked_to_fit: Callable[..., Fitting], capsys: pytest.CaptureFixture[str], rows: slice, message: str
) -> None:
    set_answers(np.nan, rows)
    asked_to_fit()
    assert capsys.readouterr().err == message


def test_few_missing_answers_are_no_warning(
    asked_to_fit: Callable[..., Fitting], capsys: pytest.CaptureFixture[str]
) -> None:
    set_answers(0.5, slice(0, 0))
    table = pd.read_parquet("aspects.parquet")
    table.loc[3, QUESTIONS[0]] = np.nan
    table.to_parquet("aspects.parquet")
    asked_to_fit()
    assert capsys.readouterr().err == "1 of the 30 training answers are missing (3.3%)\n"


def test_answers_outside_of_0_to_1_are_refused() -> None:
    set_answers(1.7, slice(0, 0))
    with pytest.raises(UserError, match=r"aspects\.parquet: 1\.7 in column 'Does it hoot\?'"):
        run("out")


def test_image_without_a_row_of_answers_is_a_user_error() -> None:
    answers = pd.read_parquet("aspects.parquet")
    answers.iloc[1:].to_parquet("aspects.parquet")
    with pytest.raises(UserError, match=f"no row for 1 of 15 images, the first is {answers['image_id'][0]}"):
        run("out")


def test_picture_that_is_gone_or_another_one_is_named() -> None:
    Path("pictures/test3.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"test3\.png has changed"):
        run("out")
    Path("pictures/test3.png").unlink()
    with pytest.raises(UserError, match=r"test3\.png cannot be opened"):
        run("out", "baseline")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": -1}, r"alpha: .*greater than or equal to 0, got -1"),
        ({"aspect_loss": "mse"}, r"aspect_loss: .*'bce' or 'kl'"),
        ({"aspect_targets": "oracle"}, r"aspect_targets: .*'shuffled'"),
        ({"n_questions": 0}, r"n_questions: .*greater than or equal to 1"),
        ({"train_fraction": 0}, r"train_fraction: .*greater than 0"),
        ({"train_fraction": 1.1}, r"train_fraction: .*less than or equal to 1"),
    ],
)
def test_bad_dials_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run("out", **changes)


def test_pictures_are_found_in_the_main_checkout_from_a_temporary_one(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("out")
    copy = tmp_path_factory.mktemp("copy")
    for name in ("params.yaml", "manifest.parquet", "aspects.parquet"):
        (copy / name).write_bytes(Path(name).read_bytes())
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.chdir(copy)
    assert_same_files(run("out"), project / expected)


@pytest.mark.parametrize(
    "arguments", [["makd", MODEL, "0"], ["baseline", MODEL, "0", "--aspects", "a"], ["other", MODEL, "0"]]
)
def test_command_line_needs_answers_for_makd_alone(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *arguments, "--manifest", "manifest.parquet", "--out", "out"])
    with pytest.raises(SystemExit):
        main()
    assert "error: " in capsys.readouterr().err


def test_makd_arm_depends_on_all_that_the_baseline_depends_on_and_the_dials() -> None:
    dials = {"alpha", "aspect_loss", "aspect_targets", "n_questions", "kd"}
    assert set(Params.model_fields) - set(BaselineParams.model_fields) == dials


def kd(source: str, **changes: Any) -> dict[str, Any]:
    return {**read_params()["kd"], "source": source, **changes}


def teach(source: str, *, zero_shot: str = "zero_shot.parquet") -> Path:
    known = {key: value for key, value in read_params().items() if key in TeacherParams.model_fields}
    params = validate(TeacherParams, known | {"kd": kd(source)})
    out = Path(f"teacher_{source}")
    train_teacher(
        params, RUNTIME, model=MODEL, seed=1, manifest=Path("manifest.parquet"), zero_shot=Path(zero_shot), out=out
    )
    return out


def write_scores(splits: tuple[str, ...] = ("train", "val")) -> None:
    manifest = read_manifest(Path("manifest.parquet"))
    rows = manifest[manifest["split"].isin(splits)]
    scores = np.eye(len(CLASSES), dtype=np.float32)[rows["label"]] * 0.8 + 0.1
    rows.join(pd.DataFrame(scores, rows.index, class_columns(CLASSES))).to_parquet("zero_shot.parquet")


def test_no_teacher_is_a_note() -> None:
    folder = teach("none")
    assert [file.name for file in folder.iterdir()] == ["config.json"]
    assert json.loads((folder / "config.json").read_text()) == {"source": "none"}


def test_a_classifier_as_teacher_is_the_baseline_under_another_name() -> None:
    folder, baseline = teach("classifier"), run("baseline", "baseline", seed=1)
    assert (folder / "model.safetensors").read_bytes() == (baseline / "model.safetensors").read_bytes()
    assert json.loads((folder / "config.json").read_text())["arm"] == "teacher"


def test_scores_as_teacher_are_those_of_the_training_images_alone() -> None:
    write_scores()
    table = pd.read_parquet(teach("mllm") / "scores.parquet")
    assert set(table["split"]) == {"train"}
    assert len(table) == SPLITS["train"] * len(CLASSES)
    write_scores(("val",))
    with pytest.raises(UserError, match="add train"):
        teach("mllm")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["classifier", "mllm"])
def test_students_learn_from_the_teacher(source: str) -> None:
    write_scores()
    folder = teach(source)
    plain = (run("plain") / "model.safetensors").read_bytes()
    out = run("taught", teacher=folder, kd=kd(source, weight=1.0))
    assert (out / "model.safetensors").read_bytes() != plain
    assert "train_kd_loss" in pd.read_csv(out / "history.csv")
    assert (run("untaught", teacher=folder, kd=kd(source, weight=0.0)) / "model.safetensors").read_bytes() == plain


@pytest.mark.parametrize("source", ["classifier", "mllm"])
def test_a_fraction_of_the_images_meets_its_own_scores(source: str, asked_to_fit: Callable[..., Fitting]) -> None:
    write_scores()
    asked = asked_to_fit(teacher=teach(source), kd=kd(source), train_fraction=0.4)
    assert asked.run.teacher is not None
    n = len(asked.train_set.labels)
    logits = asked.run.teacher.logits(np.arange(n), torch.zeros(n, 3, PX, PX))
    assert len(logits) == n
    if source == "mllm":
        assert torch.equal(logits.argmax(dim=1), asked.train_set.labels)
