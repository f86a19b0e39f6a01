"""Every preset is a whole, valid params file with the paper's protocol."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from makd.errors import UserError
from makd.params import read_params
from stages.prepare_dataset import check_params
from tools.preset import install

ROOT = Path(__file__).parents[1]
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
DATASETS = [
    "caltech101",
    "cub200",
    "dtd",
    "fgvc_aircraft",
    "flowers102",
    "mini_imagenet",
    "oxford_pets",
    "stanford_cars",
]
OWN_KEYS = {"birds", "dtd_fold", "flowers102_protocol"}
"""Of prepare_dataset: those that only one dataset has."""


def params(name: str) -> dict[str, Any]:
    return read_params(ROOT / "presets" / f"{name}.yaml")


def test_there_is_one_for_each_dataset_of_the_paper() -> None:
    assert sorted([*DATASETS, "tuned"]) == PRESETS
    assert [params(name)["dataset"] for name in DATASETS] == DATASETS


@pytest.mark.parametrize("name", PRESETS)
def test_it_is_valid_and_has_every_key(name: str) -> None:
    check_params(ROOT / "presets" / f"{name}.yaml")
    preset, default = params(name), read_params()
    assert list(preset) == list(default)
    for block, values in default.items():
        if isinstance(values, dict):
            assert set(preset[block]) - OWN_KEYS == set(values) - OWN_KEYS, block


@pytest.mark.parametrize("name", DATASETS)
def test_it_has_the_protocol_of_the_paper(name: str) -> None:
    preset = params(name)
    assert preset["models"] == ["resnet18", "resnet34", "mobilenetv1_100", "efficientnet_b0"]
    assert preset["seeds"] == [0, 1, 2]
    assert (preset["n_questions"], preset["generate_questions"]["n_candidates"], preset["alpha"]) == (50, 100, 4.0)
    assert preset["prepare_dataset"]["val_fraction"] == 0, "the paper trains on train and val"
    assert preset["llm"]["model"] == "gpt-4o"
    recipe = preset["train"]
    few = {"epochs": 240, "batch_size": 16, "lr": 0.01, "weight_decay": 5e-4, "milestones": [150, 180, 210]}
    many = {"epochs": 100, "batch_size": 512, "lr": 0.2, "weight_decay": 1e-4, "milestones": [30, 60, 90]}
    expected = many if name == "mini_imagenet" else few
    expected |= {"image_px": 224, "momentum": 0.9, "gamma": 0.1, "crop_scale_min": 0.08, "pretrained": False}
    assert {key: recipe[key] for key in expected} == expected


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tracked files, in a repository of git and DVC."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).exists() and not name.startswith(("reports/", "tests/", "data/tiny_vlm")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for command in ("init --quiet", "config user.name test", "config user.email test@localhost", "add -A"):
        subprocess.run(["git", *command.split()], check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "start"], check=True)
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].values()
    for dep in {dep for stage in stages for dep in stage["deps"]} - {"models", "data/recordings"}:
        path = tmp_path / dep  # a dry run wants what earlier stages write
        if not path.suffix:
            path.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path


@pytest.mark.parametrize(
    "name", ["oxford_pets", *(pytest.param(n, marks=pytest.mark.slow) for n in PRESETS if n != "oxford_pets")]
)
def test_its_pipeline_resolves(name: str, checkout: Path) -> None:
    install(name, force=False)
    done = subprocess.run(["dvc", "repro", "--dry"], check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "stages.train makd efficientnet_b0 2" in done.stdout


def test_edits_are_not_overwritten_unless_asked(checkout: Path) -> None:
    Path("params.yaml").write_text("alpha: 1\n")
    with pytest.raises(UserError, match="edits that are in no commit"):
        install("dtd", force=False)
    assert Path("params.yaml").read_text() == "alpha: 1\n"
    install("dtd", force=True)
    assert Path("params.yaml").read_bytes() == (ROOT / "presets/dtd.yaml").read_bytes()


def test_an_unknown_name_is_answered_with_those_there_are(checkout: Path) -> None:
    with pytest.raises(UserError, match=r"no preset 'pets'; NAME is one of caltech101, cub200, .*tuned"):
        install("pets", force=False)
