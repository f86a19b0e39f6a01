"""The detection pipeline through DVC, as a user runs it, on nine drawings and answers of a file."""

import csv
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_pipeline import ROOT, Checkout, put, stages_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FOLDER = "pipelines/detection"
MODEL = "mobilenet_v3_small"
SMALL: dict[str, Any] = {
    "models": [MODEL],
    "seeds": [0],
    "n_questions": 2,
    "prepare_detection.birds.train": 6,
    "prepare_detection.birds.test": 3,
    "extract_logits.backend": "table",
    "train_detector.iterations": 2,
    "train_detector.batch_size": 2,
    "train_detector.warmup": 1,
    "train_detector.log_every": 1,
    "train_detector.milestones": [1],
    "runtime.workers": 1,
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """After a first run, committed."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).exists() and not name.endswith("dvc.lock") and "reports/" not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    with (folder / "answers.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "Is there a bird?", "Is it dark?"])
        for split, count in (("train", 6), ("test", 3)):
            rows.writerows([f"{split}/{number:05d}.png", 1, number / 10] for number in range(count))
    params = folder / FOLDER / "params.yaml"
    values = yaml.safe_load(params.read_text())
    for key, value in (SMALL | {"extract_logits.table": str(folder / "answers.csv")}).items():
        put(values, key, value)
    params.write_text(yaml.safe_dump(values, sort_keys=False))
    made = Checkout(folder)
    for command in ("init --quiet", "config user.name test", "config user.email test@localhost", "add -A"):
        made.run("git", *command.split())
    made.run("git", "commit", "--quiet", "-m", "start")
    made.run("dvc", "repro", "-R", FOLDER)
    made.run("git", "add", "-A")
    made.run("git", "commit", "--quiet", "-m", "first run")
    return made


def of_the_folder(checkout: Checkout) -> Checkout:
    return Checkout(checkout.path(FOLDER))


def test_every_file_of_the_contract_is_there(checkout: Checkout) -> None:
    runs = [f"models/{MODEL}/{arm}/seed0/{file}" for arm in ("baseline", "makd") for file in ("detections.json",)]
    tables = [f"data/{name}.parquet" for name in ("pictures", "boxes", "categories", "manifest", "shown", "aspects")]
    reports = [f"reports/{name}" for name in ("metrics.json", "ap.md", "runs.csv", "figures/detections.png")]
    assert not [name for name in (*runs, *tables, *reports) if not checkout.path(f"{FOLDER}/{name}").is_file()]
    assert not Path(checkout.path("data/manifest.parquet")).exists(), "the classifier's pipeline did not run"


def test_a_plain_repro_at_the_root_leaves_it_alone(checkout: Checkout) -> None:
    planned = stages_run(checkout.run("dvc", "repro", "--dry", check=False))
    assert "prepare_dataset" in planned
    assert not any("detect" in stage for stage in planned)


def test_a_second_run_checks_the_pictures_and_no_more(checkout: Checkout) -> None:
    assert stages_run(of_the_folder(checkout).run("dvc", "repro")) == {"prepare_detection"}


def test_an_ablation_of_alpha_trains_the_makd_arm_alone(checkout: Checkout) -> None:
    output = of_the_folder(checkout).run("dvc", "exp", "run", "-S", "alpha=7")
    expected = {"prepare_detection", f"train_detector@{MODEL}-0", "evaluate_detector"}
    assert stages_run(output) == expected
    assert yaml.safe_load(Path("params.yaml").read_text())["alpha"] == 25, "the classifier's is another"
    restored = of_the_folder(checkout)
    restored.run("git", "checkout", "--quiet", "HEAD", "--", ".")
    restored.run("dvc", "checkout", "--quiet", "dvc.yaml")
    output = checkout.run("dvc", "exp", "run", "-R", FOLDER, "-S", f"{FOLDER}/params.yaml:alpha=9")
    assert stages_run(output) == {f"{FOLDER}/dvc.yaml:{stage}" for stage in expected}
