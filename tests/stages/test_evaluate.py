import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import stages.evaluate
from makd.class_scores import class_columns
from makd.embedding import embed, sample
from makd.embedding_table import TEACHER, read_embeddings
from makd.errors import UserError
from makd.evidence import class_answer_means
from makd.faithfulness import faithfulness
from makd.params import validate
from makd.report_data import TABLES
from makd.runs import read_runs
from stages.evaluate import Params
from tests.made_up_report import BLOCK, SMALLEST, evaluated, files_below, metrics_in, write_scores, write_truth
from tests.made_up_runs import MadeUpRuns, write_frame

FILES = sorted(
    [*(f"{name}.csv" for name in TABLES), "accuracy.md", "details.json", "embeddings.parquet", "metrics.json"]
)


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    return MadeUpRuns(tmp_path).write()


@pytest.mark.filterwarnings("error")
def test_the_tables_are_written_without_a_warning(made_up: MadeUpRuns, capsys: pytest.CaptureFixture[str]) -> None:
    out = evaluated(made_up)
    assert sorted(files_below(out)) == FILES
    printed = capsys.readouterr().out
    assert (out / "accuracy.md").read_text() in printed
    assert str(out) in printed


def test_metrics_and_table_say_the_same_as_the_predictions(made_up: MadeUpRuns) -> None:
    out = evaluated(made_up)
    metrics = metrics_in(out)["models"]["resnet10t"]
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
    row = pd.read_csv(out / "accuracy.csv").set_index("model").loc["resnet10t"]
    assert row["gap_high"] == pytest.approx(metrics["test"]["gap_high"], rel=1e-4)
    assert row["p_value"] == pytest.approx(metrics["test"]["p_value"], rel=1e-2)
    assert row["makd_val"] == pytest.approx(metrics["val"]["makd"], rel=1e-4)


def test_the_student_is_held_against_the_answers_for_the_same_test_images(made_up: MadeUpRuns) -> None:
    aspects = metrics_in(evaluated(made_up))["models"]["resnet10t"]["aspects"]
    teacher = pd.read_parquet(made_up.aspects).set_index("path")[made_up.questions]
    differences = []
    for seed in made_up.seeds:
        table = pd.read_parquet(made_up.folder("resnet10t", "makd", seed) / "predictions.parquet").set_index("path")
        student = table[table["split"] == "test"].filter(like="aspect: ")
        differences.append(np.abs(student.to_numpy() - teacher.loc[student.index].to_numpy()).mean())
    assert aspects["abs_diff"] == pytest.approx(np.mean(differences), abs=1e-4)


def test_faithfulness_goes_by_the_answers_about_the_training_images(made_up: MadeUpRuns) -> None:
    """About the others, they are the opposite."""
    training = made_up.images["split"] == "train"
    made_up.p_yes[~training] = 1 - made_up.p_yes[~training]
    made_up.save_answers()
    labels = made_up.images.loc[training, "label"].to_numpy()
    means = class_answer_means(made_up.p_yes[training], labels, made_up.n_classes)
    table = pd.read_csv(evaluated(made_up) / "faithfulness.csv").set_index("model")
    runs = read_runs(made_up.runs, made_up.images, made_up.models, made_up.seeds)
    for model in made_up.models:
        expected = pd.DataFrame([faithfulness(runs[model, "makd", seed], means) for seed in made_up.seeds]).mean()
        assert table.loc[model, expected.index].to_dict() == pytest.approx(expected.to_dict(), rel=1e-4)


def test_embeddings_are_of_the_teacher_and_of_the_first_seed_of_each_student(made_up: MadeUpRuns) -> None:
    found = read_embeddings(evaluated(made_up, seeds=made_up.seeds[::-1]) / "embeddings.parquet")
    assert list(found.by_source) == [TEACHER, *made_up.models]
    rows = sample(36, 30)
    assert found.rows.tolist() == rows.tolist()
    table = pd.read_parquet(made_up.folder(made_up.models[1], "makd", 1) / "predictions.parquet")
    in_test = table[table["split"] == "test"].filter(like="aspect: ").to_numpy()
    assert found.by_source[made_up.models[1]].points == pytest.approx(embed(in_test[rows], 5.0).points)
    answers = made_up.p_yes[made_up.images["split"] == "test"]
    assert found.by_source[TEACHER].points == pytest.approx(embed(answers[rows], 5.0).points)


def test_details_and_tables_say_the_same(made_up: MadeUpRuns) -> None:
    out = evaluated(made_up)
    details = json.loads((out / "details.json").read_text())
    assert list(details) == list(made_up.models)
    classes, agreement = pd.read_csv(out / "classes.csv"), pd.read_csv(out / "agreement.csv")
    for model in made_up.models:
        of_model = classes[classes["model"] == model].set_index("class")["makd"]
        assert details[model]["classes"] == pytest.approx(of_model.to_dict(), abs=1e-4)
        of_model = agreement[agreement["model"] == model].set_index("question")["auc"]
        assert details[model]["questions"] == pytest.approx(of_model.to_dict(), abs=1e-4)


def test_the_tables_of_the_classes_agree_with_the_accuracy(made_up: MadeUpRuns) -> None:
    """As many test images a class, so that the accuracy is the mean of the classes' and what confusions leave."""
    out = evaluated(made_up)
    accuracy, classes = pd.read_csv(out / "accuracy.csv"), pd.read_csv(out / "classes.csv")
    confusions = pd.read_csv(out / "confusions.csv")
    for row in accuracy.to_dict("records"):
        for arm in ("baseline", "makd"):
            assert classes[classes["model"] == row["model"]][arm].mean() == pytest.approx(row[arm], rel=1e-4)
            wrong = confusions[confusions["model"] == row["model"]][arm].sum() / made_up.n_classes
            assert wrong == pytest.approx(100 - row[arm], rel=1e-4)


def test_the_multimodal_llms_own_accuracy_is_in_the_table_and_the_metrics(made_up: MadeUpRuns) -> None:
    """It is right about all test images but those of the last class."""
    test = made_up.images[made_up.images["split"] == "test"]
    said = np.eye(made_up.n_classes)[test["label"] % (made_up.n_classes - 1)].astype(np.float32)
    scores = pd.DataFrame(said, columns=class_columns(made_up.classes)).assign(image_id=list(test["image_id"]))
    write_frame(scores, made_up.root / "data/zero_shot.parquet")
    out = evaluated(made_up)
    assert pd.read_csv(out / "accuracy.csv")["zero_shot"].tolist() == pytest.approx([200 / 3] * 2, rel=1e-4)
    assert metrics_in(out)["references"] == {"zero_shot": 66.6667}
    assert "MLLM zero-shot, %" in (out / "accuracy.md").read_text()


def test_a_second_run_gives_the_same_bytes(made_up: MadeUpRuns) -> None:
    write_truth(made_up)
    first = files_below(evaluated(made_up))
    shutil.rmtree(made_up.root / "reports")
    assert files_below(evaluated(made_up)) == first


def test_the_teacher_is_held_against_the_truth_where_it_is_known(made_up: MadeUpRuns) -> None:
    write_truth(made_up)
    out = evaluated(made_up)
    truth = metrics_in(out)["teacher"]["truth"]
    assert truth == {"questions": 2, "accuracy": 50.0, "accuracy_least": 0.0, "auc": 0.5, "auc_least": 0.0}
    questions = pd.read_csv(out / "questions.csv")
    assert questions["truth_accuracy"].tolist() == pytest.approx([100, 0, np.nan, np.nan], nan_ok=True)
    assert questions["question"].tolist() == made_up.questions


def test_a_missing_truth_is_said_to_be_absent(made_up: MadeUpRuns, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = metrics_in(evaluated(made_up))
    assert metrics["teacher"]["truth"] == "absent"
    assert "attributes.parquet is missing" in capsys.readouterr().out


def test_the_truth_about_birds_is_no_truth_about_another_dataset(made_up: MadeUpRuns) -> None:
    write_truth(made_up)
    metrics = metrics_in(evaluated(made_up, dataset="imagefolder"))
    assert metrics["teacher"]["truth"] == "absent"


def test_constant_questions_are_warned_of(made_up: MadeUpRuns, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(made_up)
    assert "constant" not in capsys.readouterr().err
    made_up.p_yes[:, 1:3] = 0.3
    made_up.save_answers()
    evaluated(made_up)
    assert "2 of 4 questions are constant: do they suit these images, and who answers them?" in capsys.readouterr().err


def test_only_the_models_and_seeds_of_the_params_count(made_up: MadeUpRuns) -> None:
    first = files_below(evaluated(made_up, seeds=(0,), models=("resnet10t",)))
    for gone in (made_up.folder("resnet10t", "makd", 1), made_up.runs / "mobilenetv3_small_050"):
        shutil.rmtree(gone)
    assert files_below(evaluated(made_up, seeds=(0,), models=("resnet10t",))) == first
    assert json.loads(first["metrics.json"])["models"]["resnet10t"]["test"]["gap_std"] is None


def test_a_missing_run_is_named_with_the_command(made_up: MadeUpRuns) -> None:
    with pytest.raises(UserError, match=r"models/resnet10t/baseline/seed7/config.json is missing; run: dvc repro"):
        evaluated(made_up, seeds=(0, 7))


def test_a_dropped_test_image_is_refused(made_up: MadeUpRuns) -> None:
    path = made_up.folder("resnet10t", "makd", 0) / "predictions.parquet"
    write_frame(pd.read_parquet(path).iloc[:-1], path)
    with pytest.raises(UserError, match="its 35 test rows are not the manifest's 36"):
        evaluated(made_up)


@pytest.mark.filterwarnings("error")
def test_test_images_that_the_teacher_was_not_asked_about_leave_gaps_in_the_tables(made_up: MadeUpRuns) -> None:
    made_up.p_yes[made_up.images["split"] != "train"] = np.nan
    made_up.save_answers()
    metrics = metrics_in(evaluated(made_up))
    assert set(metrics["models"]["resnet10t"]["aspects"].values()) == {None}
    assert metrics["models"]["resnet10t"]["test"]["gap"] > 0
    reports = made_up.root / "reports"
    assert pd.read_csv(reports / "agreement.csv")["answers"].tolist() == [0] * 8
    assert pd.read_csv(reports / "calibration.csv")["answers"].sum() == 0
    assert read_embeddings(reports / "embeddings.parquet").by_source[TEACHER].reason == "no answers for these images"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", SMALLEST)
def test_the_smallest_datasets_are_evaluated(tmp_path: Path, size: dict[str, int]) -> None:
    out = evaluated(MadeUpRuns(tmp_path, **size).write())  # type: ignore[arg-type]
    assert sorted(files_below(out)) == FILES


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
    metrics = metrics_in(made_up.root / "reports")
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
    assert metrics_in(made_up.root / "reports")["teacher"]["truth"] == "absent"
