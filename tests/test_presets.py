"""Presets are whole params files: none lacks a key, none drifts from the others, each is what it says it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from makd.params import read_params
from stages.prepare_dataset import check_params

PRESETS = sorted(Path("presets").glob("*.yaml"))
PAPER = [
    "caltech101",
    "cub200",
    "dtd",
    "fgvc_aircraft",
    "flowers102",
    "mini_imagenet",
    "oxford_pets",
    "stanford_cars",
]
OWN = {"dataset", "prepare_dataset.root", "prepare_dataset.resplit", "prepare_dataset.test_fraction"}
"""Where the presets of the paper's datasets may differ."""

IMAGENET_SETTING = {
    "train.epochs": 100,
    "train.batch_size": 512,
    "train.lr": 0.2,
    "train.weight_decay": 1e-4,
    "train.milestones": [30, 60, 90],
}
MODELS = ["resnet18", "resnet34", "mobilenetv1_100", "efficientnet_b0"]
SEEDS = [0, 1, 2]
OF_THE_PAPER = {
    "n_questions": 50,
    "generate_questions.n_candidates": 100,
    "alpha": 4.0,
    "models": MODELS,
    "seeds": SEEDS,
    "llm.backend": "openai",
    "llm.model": "gpt-4o",
    "extract_logits.dtype": "bfloat16",
    "prepare_dataset.val_fraction": 0.0,
    "train.image_px": 224,
    "train.crop_scale_min": 0.08,
    "train.epochs": 240,
    "train.batch_size": 16,
    "train.lr": 0.01,
    "train.momentum": 0.9,
    "train.nesterov": False,
    "train.weight_decay": 5e-4,
    "train.milestones": [150, 180, 210],
    "train.gamma": 0.1,
    "train.pretrained": False,
    "train.resize_px": 256,
}


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {above + key: value}
    return found


def preset(name: str) -> dict[str, Any]:
    return flat(read_params(Path("presets", f"{name}.yaml")))


def keys(values: dict[str, Any]) -> list[str]:
    """All but those of another dataset and other students, in their order."""
    kept = (key for key in values if not key.startswith("prepare_dataset.birds."))
    return ["train.model_args" if key.startswith("train.model_args.") else key for key in kept]


def test_every_dataset_of_the_paper_has_its_preset() -> None:
    assert [file.stem for file in PRESETS] == sorted([*PAPER, "tuned"])
    assert [preset(name)["dataset"] for name in PAPER] == PAPER


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_has_the_keys_of_the_params_file(file: Path) -> None:
    assert keys(flat(read_params(file))) == list(dict.fromkeys(keys(flat(read_params()))))


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: file.stem)
def test_a_preset_has_no_anchors(file: Path) -> None:
    assert not any(getattr(event, "anchor", None) for event in yaml.parse(file.read_text()))


def test_all_presets_are_valid() -> None:
    for file in PRESETS:  # one test, so that the four students are built once
        check_params(file)


@pytest.mark.parametrize("name", PAPER)
def test_a_preset_of_the_paper_has_its_protocol(name: str) -> None:
    expected = OF_THE_PAPER | (IMAGENET_SETTING if name == "mini_imagenet" else {})
    values = preset(name)
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize("name", PAPER)
def test_presets_of_the_paper_differ_in_their_data_alone(name: str) -> None:
    values, cars = preset(name), preset("stanford_cars")
    allowed = OWN | (set(IMAGENET_SETTING) if name == "mini_imagenet" else set())
    assert {key for key in cars if values[key] != cars[key]} <= allowed


def test_the_tuned_preset_differs_in_the_recipe_alone() -> None:
    tuned, pets = preset("tuned"), preset("oxford_pets")
    assert {key.split(".")[0] for key in pets if tuned[key] != pets[key]} == {"train"}
    assert not tuned["train.pretrained"]


def clean() -> dict[str, str]:
    """The environment without what DVC, git and make around the tests have set."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "MAKE", "MFLAGS"))
    }
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}


def run(folder: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        command, cwd=folder, env=clean(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `make preset` and DVC need, committed."""
    for name in ("Makefile", "dvc.yaml", "params.yaml"):
        shutil.copy(name, tmp_path)
    shutil.copytree("presets", tmp_path / "presets")
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("init", "--quiet"), ("add", "-A"), (*identity, "commit", "--quiet", "-m", "start")):
        assert run(tmp_path, "git", *command)[0] == 0
    return tmp_path


RUNS = {f"{stage}@{model}-{seed}" for stage in ("train_baseline", "train") for model in MODELS for seed in SEEDS}


@pytest.mark.parametrize(
    "name", ["oxford_pets", *(pytest.param(file.stem, marks=pytest.mark.slow) for file in PRESETS)]
)
def test_dvc_resolves_every_stage_with_a_preset(project: Path, name: str) -> None:
    assert run(project, "make", "preset", f"NAME={name}")[0] == 0
    assert run(project, "dvc", "init", "--quiet", "--force")[0] == 0
    code, listed = run(project, "dvc", "stage", "list", "--name-only")
    assert code == 0, listed
    assert set(listed.split()) > RUNS


def test_make_preset_installs_one(project: Path) -> None:
    code, said = run(project, "make", "preset", "NAME=dtd")
    assert (code, said) == (0, "params.yaml is now presets/dtd.yaml\n")
    assert (project / "params.yaml").read_bytes() == Path("presets/dtd.yaml").read_bytes()


def test_make_preset_keeps_uncommitted_edits_unless_forced(project: Path) -> None:
    (project / "params.yaml").write_text("mine: 1\n")
    code, said = run(project, "make", "preset", "NAME=dtd")
    assert code != 0
    assert "params.yaml has uncommitted edits; commit them, or add FORCE=1" in said
    assert (project / "params.yaml").read_text() == "mine: 1\n"
    assert run(project, "make", "preset", "NAME=dtd", "FORCE=1")[0] == 0
    assert (project / "params.yaml").read_bytes() == Path("presets/dtd.yaml").read_bytes()


@pytest.mark.parametrize("arguments", [[], ["NAME=imagenet"]])
def test_make_preset_lists_those_there_are(project: Path, arguments: list[str]) -> None:
    code, said = run(project, "make", "preset", *arguments)
    assert code != 0
    assert " ".join(file.stem for file in PRESETS) in said
    assert run(project, "git", "status", "--porcelain")[1] == ""
