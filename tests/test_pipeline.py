"""The whole pipeline through DVC, as a user runs it, on few birds: what runs, what is asked, and what is kept."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SMALL: dict[str, Any] = {
    "seeds": [0, 1],
    "n_questions": 6,
    "prepare_dataset.birds.train_per_class": 6,
    "prepare_dataset.birds.val_per_class": 2,
    "prepare_dataset.birds.test_per_class": 4,
    "train.epochs": 2,
    "train.milestones": [1],
    "evaluate.bootstrap_samples": 200,
    "evaluate.tsne_images": 60,
    "evaluate.tsne_perplexity": 10.0,
    "runtime.workers": 1,
    "runtime.shard_images": 8,
}
N_IMAGES = 20 * (6 + 2 + 4)
MODEL = "resnet10t"
ROOT = Path(__file__).parents[1]


class Checkout:
    """A copy of the project's tracked files with params of its own, and DVC in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tools = Path(sys.executable).parent
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MAKD_", "GIT_"))}
        self.environment = kept | {"PATH": f"{tools}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output and error of the command."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def restore(self) -> None:
        self.run("git", "checkout", "--quiet", "HEAD", "--", ".")
        self.run("dvc", "checkout", "--quiet", "dvc.yaml")  # without a name also of pipelines that never ran, and fails

    def path(self, name: str) -> Path:
        return self.folder / name


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def asked(output: str) -> int:
    return sum(int(count) for count in re.findall(r"^(\d+) questions asked$", output, re.MULTILINE))


def put(values: dict[str, Any], key: str, value: Any) -> None:
    *blocks, name = key.split(".")
    for block in blocks:
        values = values[block]
    assert name in values
    values[name] = value


def record_by_hand(checkout: Checkout) -> None:
    """Answer the request that the pipeline waits for with the reply that ships; only the count of images differs."""
    (blank,) = checkout.path(".cache/llm").glob("*.request.json")
    recording = json.loads(blank.read_text())
    schema = recording["request"]["reply_schema"]["title"]
    for file in checkout.path("data/recordings").glob("*.json"):
        shipped = json.loads(file.read_text())
        if shipped["request"]["reply_schema"]["title"] == schema:
            recording["reply"] = shipped["reply"]
    recording["written_by"] = "a test"
    file = checkout.path("data/recordings") / blank.name.replace(".request", "")
    file.write_text(json.dumps(recording))
    blank.unlink()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """After a first `dvc repro`, committed."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).exists() and name != "dvc.lock" and not name.startswith("reports/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    values = yaml.safe_load((folder / "params.yaml").read_text())
    for key, value in SMALL.items():
        put(values, key, value)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    made = Checkout(folder)
    for command in ("init --quiet", "config user.name test", "config user.email test@localhost", "add -A"):
        made.run("git", *command.split())
    made.run("git", "commit", "--quiet", "-m", "start")
    for _ in range(2):
        assert "data/recordings has no reply" in made.run("dvc", "repro", check=False)
        record_by_hand(made)
    made.run("dvc", "repro")
    made.run("git", "add", "-A")
    made.run("git", "commit", "--quiet", "-m", "first run")
    return made


def test_every_file_of_the_contract_is_there(checkout: Checkout) -> None:
    runs = [f"models/{MODEL}/{arm}/seed{seed}" for arm in ("baseline", "makd") for seed in SMALL["seeds"]]
    names = [
        "manifest.parquet",
        "questions/candidates.json",
        "questions/selected.json",
        "aspects.parquet",
        "answers.parquet",
    ]
    files = ["model.safetensors", "config.json", "history.csv", "predictions.parquet"]
    expected = [f"data/{name}" for name in names] + [f"{run}/{file}" for run in runs for file in files]
    expected += [
        f"reports/{name}" for name in ("metrics.json", "accuracy.csv", "costs.csv", "figures/tsne.png", "index.html")
    ]
    assert not [name for name in expected if not checkout.path(name).is_file()]
    table = pd.read_parquet(checkout.path("data/aspects.parquet"))
    assert table.shape == (N_IMAGES, 5 + SMALL["n_questions"])
    assert table.iloc[:, 5:].notna().all(axis=None)


def test_a_second_run_checks_the_images_and_no_more(checkout: Checkout) -> None:
    assert stages_run(checkout.run("dvc", "repro")) == {"prepare_dataset"}
    assert "dvc.lock" not in checkout.run("git", "status", "--short")


def test_an_ablation_of_alpha_trains_the_makd_arm_alone(checkout: Checkout) -> None:
    output = checkout.run("dvc", "exp", "run", "-S", "alpha=77")
    assert stages_run(output) == {"prepare_dataset", f"train@{MODEL}-0", f"train@{MODEL}-1", "evaluate", "report"}
    assert asked(output) == 0
    moved = checkout.run("dvc", "metrics", "diff")
    for what in ("test.gap", "classes.", "questions."):
        assert re.search(rf"^reports/\w+\.json +{'models' if what == 'test.gap' else MODEL}.*{what}", moved, re.M), (
            moved
        )
    checkout.restore()


def test_fewer_questions_ask_nothing(checkout: Checkout) -> None:
    output = checkout.run("dvc", "exp", "run", "-S", "n_questions=4")
    assert "extract_logits" in stages_run(output)
    assert not {"generate_questions", "select_questions"} & stages_run(output)
    assert "0 to ask" in output
    assert asked(output) == 0
    checkout.restore()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("alpha=ten", "error: params.yaml: alpha: .* got 'ten'"),
        ("+train.epoch=3", "error: params.yaml: train.epoch: no such"),
    ],
)
def test_a_bad_param_ends_in_one_clear_line(checkout: Checkout, override: str, said: str) -> None:
    output = checkout.run("dvc", "exp", "run", "-S", override, check=False)
    assert re.search(said, output)
    assert "Traceback" not in output
    assert stages_run(output) == {"prepare_dataset"}
    checkout.restore()


def test_dvc_shows_metrics_and_plots(checkout: Checkout) -> None:
    assert MODEL in checkout.run("dvc", "metrics", "show")
    checkout.run("dvc", "plots", "show", "--out", "dvc_plots")
    assert checkout.path("dvc_plots/index.html").is_file()
    shutil.rmtree(checkout.path("dvc_plots"))
    assert "main" in checkout.run("dvc", "exp", "show", "--csv") or "master" in checkout.run(
        "dvc", "exp", "show", "--csv"
    )


def test_killed_extraction_goes_on_where_it_was(checkout: Checkout) -> None:
    before = checkout.path("data/aspects.parquet").read_bytes()
    shutil.rmtree(checkout.path(".cache/answers"))
    for name in ("aspects", "answers"):
        checkout.path(f"data/{name}.parquet").unlink()
    command = ["dvc", "repro", "--force", "--single-item", "extract_logits"]
    running = subprocess.Popen(command, cwd=checkout.folder, env=checkout.environment, start_new_session=True)
    while len(list(checkout.path(".cache/answers").glob("*/part-*"))) < 3:
        assert running.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = len(list(checkout.path(".cache/answers").glob("*/part-*")))
    assert kept * SMALL["runtime.shard_images"] < N_IMAGES, "nothing was left to ask"
    output = checkout.run(*command)
    assert asked(output) == (N_IMAGES - kept * SMALL["runtime.shard_images"]) * SMALL["n_questions"]
    assert checkout.path("data/aspects.parquet").read_bytes() == before


def test_own_answers_go_through_to_the_report_without_any_llm(checkout: Checkout) -> None:
    species = sorted(pd.read_parquet(checkout.path("data/manifest.parquet"))["class_name"].unique())
    table = pd.DataFrame({"class_name": species, "Is it one of the first?": 0.0, "Is it one of the last?": 1.0})
    table.loc[:9, "Is it one of the first?"] = 1.0
    table.to_csv(checkout.path("mine.csv"), index=False)
    shutil.rmtree(checkout.path("data/recordings"))
    checkout.path("data/recordings").mkdir()
    values = yaml.safe_load(checkout.path("params.yaml").read_text())
    changes = {"extract_logits.backend": "table", "extract_logits.table": "mine.csv", "n_questions": 2, "seeds": [0]}
    for key, value in changes.items():
        put(values, key, value)
    checkout.path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    assert "evaluate" in stages_run(checkout.run("dvc", "repro"))
    aspects = pd.read_parquet(checkout.path("data/aspects.parquet"))
    assert aspects.groupby("class_name")["Is it one of the first?"].first().tolist() == [1.0] * 10 + [0.0] * 10
    assert stages_run(checkout.run("dvc", "repro")) == {"prepare_dataset"}

    table.assign(**{"Is it one of the last?": 0.5}).to_csv(checkout.path("mine.csv"), index=False)
    assert {"extract_logits", f"train@{MODEL}-0", "evaluate"} <= stages_run(checkout.run("dvc", "repro"))
    checkout.path("mine.csv").unlink()
    checkout.restore()
