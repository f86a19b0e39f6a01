import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import stages.evaluate
from makd.errors import UserError
from makd.files import write_json
from makd.params import validate
from makd.tsne_figure import tsne_figure
from stages.evaluate import Params, evaluate
from tests.made_up_runs import MadeUpRuns, write_frame

BLOCK = {"bootstrap_samples": 1000, "tsne_images": 30, "tsne_perplexity": 5.0}
FIGURES = ["accuracy", "class_aspects", "contact_sheet", "questions", "training", "tsne"]


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    return MadeUpRuns(tmp_path).write()


def run(made_up: MadeUpRuns, **changes: object) -> Path:
    values = {"dataset": "birds", "models": made_up.models, "seeds": made_up.seeds, "evaluate": BLOCK} | changes
    out = made_up.root / "reports"
    evaluate(
        validate(Params, values),
        manifest=made_up.manifest,
        aspects=made_up.aspects,
        zero_shot=write_scores(made_up),
        runs=made_up.runs,
        facts=made_up.root / "data/birds_facts.json",
        attributes=made_up.root / "data/birds/attributes.parquet",
        out=out,
    )
    return out


def write_scores(made_up: MadeUpRuns) -> Path:
    """Nobody was asked about the classes."""
    path = made_up.root / "data/zero_shot.parquet"
    write_frame(pd.DataFrame({"image_id": pd.Series(dtype=str)}), path)
    return path


def write_truth(made_up: MadeUpRuns) -> None:
    """The teacher is always right about the first question and always wrong about the second."""
    first, second = made_up.questions[:2]
    write_json({first: "fact", second: "fact of the second"}, made_up.root / "data/birds_facts.json")
    right = {"fact": made_up.p_yes[:, 0] > 0.5, "fact of the second": made_up.p_yes[:, 1] <= 0.5}
    table = pd.DataFrame({"path": made_up.images["path"], **right})
    write_frame(table.sample(frac=1, random_state=0), made_up.root / "data/birds/attributes.parquet")


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.filterwarnings("error")
def test_the_report_is_written_without_a_warning(made_up: MadeUpRuns, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(made_up)
    figures = [f"figures/{name}.png" for name in FIGURES]
    assert list(files_below(out)) == [
        "accuracy.csv",
        "accuracy.md",
        *figures,
        "metrics.json",
        "questions.csv",
        "training.csv",
    ]
    for name in figures:
        Image.open(out / name).verify()
    printed = capsys.readouterr().out
    assert (out / "accuracy.md").read_text() in printed
    assert str(out) in printed


def test_metrics_and_table_say_the_same_as_the_predictions(made_up: MadeUpRuns) -> None:
    out = run(made_up)
    metrics = json.loads((out / "metrics.json").read_text())["models"]["resnet10t"]
    right = {}
    for arm in ("baseline", "makd"):
        tables = [pd.read_parquet(made_up.folder("resnet10t", arm, seed) / "predictions.parquet") for seed in (0, 1)]
        right[arm] = [100 * (t["predicted"] == t["class_name"])[t["split"] == "test"].mean() for t in tables]
    gap = np.subtract(right["makd"], right["baseline"])
    assert metrics["test"]["makd"] == pytest.approx(np.mean(right["makd"]), abs=1e-4)
    assert (metrics["test"]["gap"], metrics["test"]["gap_std"]) == pytest.approx(
        (gap.mean(), gap.std(ddof=1)), abs=1e-4
    )
    assert metrics["test"]["gap_low"] < gap.mean() < metrics["test"]["gap_high"]
    makd = pd.read_csv(out / "accuracy.csv").set_index(["model", "arm"]).loc["resnet10t", "makd"]
    assert makd["gap_high"] == pytest.approx(metrics["test"]["gap_high"], rel=1e-4)
    assert makd["val_accuracy_mean"] == pytest.approx(metrics["val"]["makd"], rel=1e-4)


def test_the_student_is_held_against_the_answers_for_the_same_test_images(made_up: MadeUpRuns) -> None:
    aspects = json.loads((run(made_up) / "metrics.json").read_text())["models"]["resnet10t"]["aspects"]
    teacher = pd.read_parquet(made_up.aspects).set_index("path")[made_up.questions]
    differences = []
    for seed in made_up.seeds:
        table = pd.read_parquet(made_up.folder("resnet10t", "makd", seed) / "predictions.parquet").set_index("path")
        student = table[table["split"] == "test"].filter(like="aspect: ")
        differences.append(np.abs(student.to_numpy() - teacher.loc[student.index].to_numpy()).mean())
    assert aspects["abs_diff"] == pytest.approx(np.mean(differences), abs=1e-4)


def test_the_tsne_is_of_the_run_in_its_title(made_up: MadeUpRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def spy(student: Any, teacher: Any, *rest: Any, name: str, **options: Any) -> Any:
        drawn.append((name, student, teacher))
        return tsne_figure(student, teacher, *rest, name=name, **options)

    monkeypatch.setattr("makd.tsne_figure.tsne_figure", spy)
    monkeypatch.setattr("makd.figures.save_figure", lambda *_: None)
    run(made_up, models=made_up.models[::-1], seeds=made_up.seeds[::-1])
    ((name, student, teacher),) = drawn
    assert name == f"{made_up.models[1]}, seed 1"
    table = pd.read_parquet(made_up.folder(made_up.models[1], "makd", 1) / "predictions.parquet")
    in_test = table[table["split"] == "test"]
    assert np.array_equal(student, in_test.filter(like="aspect: "))
    answers = pd.read_parquet(made_up.aspects).set_index("path")
    assert np.allclose(teacher, answers.loc[in_test["path"], made_up.questions])


def test_a_second_run_gives_the_same_bytes(made_up: MadeUpRuns) -> None:
    write_truth(made_up)
    first = files_below(run(made_up))
    shutil.rmtree(made_up.root / "reports")
    assert files_below(run(made_up)) == first


def test_the_teacher_is_held_against_the_truth_where_it_is_known(made_up: MadeUpRuns) -> None:
    write_truth(made_up)
    out = run(made_up)
    truth = json.loads((out / "metrics.json").read_text())["teacher"]["truth"]
    assert truth == {"questions": 2, "accuracy": 50.0, "accuracy_least": 0.0, "auc": 0.5, "auc_least": 0.0}
    questions = pd.read_csv(out / "questions.csv")
    assert questions["truth_accuracy"].tolist() == pytest.approx([100, 0, np.nan, np.nan], nan_ok=True)
    assert questions["question"].tolist() == made_up.questions


def test_a_missing_truth_is_said_to_be_absent(made_up: MadeUpRuns, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads((run(made_up) / "metrics.json").read_text())
    assert metrics["teacher"]["truth"] == "absent"
    assert "attributes.parquet is missing" in capsys.readouterr().out


def test_the_truth_about_birds_is_no_truth_about_another_dataset(made_up: MadeUpRuns) -> None:
    write_truth(made_up)
    metrics = json.loads((run(made_up, dataset="imagefolder") / "metrics.json").read_text())
    assert metrics["teacher"]["truth"] == "absent"


def test_constant_questions_are_warned_of(made_up: MadeUpRuns, capsys: pytest.CaptureFixture[str]) -> None:
    run(made_up)
    assert "constant" not in capsys.readouterr().err
    made_up.p_yes[:, 1:3] = 0.3
    made_up.save_answers()
    run(made_up)
    assert "2 of 4 questions are constant: is extract_logits.model fit for these images?" in capsys.readouterr().err


def test_only_the_models_and_seeds_of_the_params_count(made_up: MadeUpRuns) -> None:
    first = files_below(run(made_up, seeds=(0,), models=("resnet10t",)))
    for gone in (made_up.folder("resnet10t", "makd", 1), made_up.runs / "mobilenetv3_small_050"):
        shutil.rmtree(gone)
    assert files_below(run(made_up, seeds=(0,), models=("resnet10t",))) == first
    assert json.loads(first["metrics.json"])["models"]["resnet10t"]["test"]["gap_std"] is None


def test_a_missing_run_is_named_with_the_command(made_up: MadeUpRuns) -> None:
    with pytest.raises(UserError, match=r"models/resnet10t/baseline/seed7/config.json is missing; run: dvc repro"):
        run(made_up, seeds=(0, 7))


def test_a_dropped_test_image_is_refused(made_up: MadeUpRuns) -> None:
    path = made_up.folder("resnet10t", "makd", 0) / "predictions.parquet"
    write_frame(pd.read_parquet(path).iloc[:-1], path)
    with pytest.raises(UserError, match="its 35 test rows are not the manifest's 36"):
        run(made_up)


@pytest.mark.filterwarnings("error")
def test_test_images_that_the_teacher_was_not_asked_about_leave_gaps_in_the_report(made_up: MadeUpRuns) -> None:
    made_up.p_yes[made_up.images["split"] != "train"] = np.nan
    made_up.save_answers()
    metrics = json.loads((run(made_up) / "metrics.json").read_text())
    assert set(metrics["models"]["resnet10t"]["aspects"].values()) == {None}
    assert metrics["models"]["resnet10t"]["test"]["gap"] > 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "size",
    [
        {"n_test": 1, "n_val": 0, "seeds": (0,), "n_classes": 2, "n_questions": 1},
        {"n_test": 3, "n_val": 1, "n_classes": 2, "n_questions": 1, "n_epochs": 1},
        {"n_test": 1, "n_val": 0, "n_classes": 30},
    ],
)
def test_the_smallest_datasets_have_a_report(tmp_path: Path, size: dict[str, int]) -> None:
    out = run(MadeUpRuns(tmp_path, **size).write())  # type: ignore[arg-type]
    assert len(files_below(out)) == 5 + len(FIGURES)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": []},
        {"seeds": []},
        {"models": ["resnet18", "resnet18"]},
        {"seeds": [0, 1, 0]},
        {"evaluate": BLOCK | {"bootstrap_samples": 0}},
        {"evaluate": BLOCK | {"tsne_perplexity": 0.0}},
        {"evaluate": BLOCK | {"tsne_image": 5}},
    ],
)
def test_bad_params_are_refused(changes: dict[str, object]) -> None:
    good = {"dataset": "birds", "models": ["resnet18"], "seeds": [0], "evaluate": BLOCK}
    validate(Params, good)
    with pytest.raises(UserError):
        validate(Params, good | changes)


def test_the_command_finds_the_truth_in_the_main_checkout(made_up: MadeUpRuns, tmp_path: Path) -> None:
    write_truth(made_up)
    main = tmp_path / "main"
    (main / "images").mkdir(parents=True)
    (made_up.root / "data/birds/attributes.parquet").rename(main / "images/attributes.parquet")
    params = {"dataset": "birds", "models": ["resnet10t"], "seeds": [0], "evaluate": BLOCK, "alpha": 3}
    (made_up.root / "params.yaml").write_text(yaml.safe_dump(params))
    names = {"manifest": "data/manifest.parquet", "aspects": "data/aspects.parquet", "runs": "models", "out": "reports"}
    names |= {"facts": "data/birds_facts.json", "zero-shot": write_scores(made_up).as_posix()}
    options = [word for name, path in names.items() for word in (f"--{name}", path)]
    environment = {"PYTHONPATH": str(Path.cwd()), "DVC_ROOT": str(main), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "stages.evaluate", *options], cwd=made_up.root, env=environment, check=True)
    metrics = json.loads((made_up.root / "reports/metrics.json").read_text())
    assert metrics["teacher"]["truth"]["questions"] == 2


def test_the_command_looks_for_no_truth_about_another_dataset(
    made_up: MadeUpRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list may lie anywhere: its paths may be shorter than those of the birds."""
    params = {"dataset": "list", "models": ["resnet10t"], "seeds": [0], "evaluate": BLOCK, "alpha": 3}
    (made_up.root / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(made_up.root)
    monkeypatch.setattr(stages.evaluate, "attributes_beside", lambda manifest: 1 / 0)
    write_scores(made_up)
    options = "--manifest data/manifest.parquet --aspects data/aspects.parquet --zero-shot data/zero_shot.parquet"
    options += " --runs models --facts f --out reports"
    monkeypatch.setattr(sys, "argv", ["evaluate", *options.split()])
    stages.evaluate.main()
    assert json.loads((made_up.root / "reports/metrics.json").read_text())["teacher"]["truth"] == "absent"
