"""The report of two arms: what it writes, that it repeats it, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from makd.coco_metrics import MEASURES
from makd.coco_results import write_results
from makd.detection_results import COLUMNS
from makd.detection_set import read_set
from makd.errors import UserError
from makd.params import validate
from stages.evaluate_detector import Params, evaluate_detector
from tests.made_up_detection import MODEL, QUESTIONS, TABLES, detection_params, prepare, write_answers


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in which makd finds everything, and the baseline nothing with seed 0 and everything with seed 1."""
    monkeypatch.chdir(tmp_path)
    prepare()
    write_answers()
    Path("facts.json").write_text("{}")
    test = read_set(*[Path(f"{name}.parquet") for name in TABLES]).of("test")
    ids = test.categories.set_index("label")["coco_id"]
    boxes = test.boxes[~test.boxes["crowd"]]
    found = pd.DataFrame({"image_id": boxes["coco_id"], "category_id": boxes["label"].map(ids)})
    found = found.join(boxes[["left", "top", "width", "height"]]).assign(score=0.9)[COLUMNS]
    teacher = pd.read_parquet("aspects.parquet").set_index("image_id").loc[test.pictures["image_id"], QUESTIONS]
    for arm in ("baseline", "makd"):
        for seed in (0, 1):
            folder = Path("models", MODEL, arm, f"seed{seed}")
            folder.mkdir(parents=True)
            write_results(found if arm == "makd" or seed else found.iloc[:0], folder / "detections.json")
            history = {"iteration": [2, 4], "lr": 0.1, "loss": [2.0, 1.0], "detection_loss": 1.0, "aspect_loss": 0.5}
            pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
            if arm == "makd":
                teacher.fillna(0.5).reset_index().to_parquet(folder / "aspects.parquet")


def run(out: str = "reports") -> Path:
    known: dict[str, Any] = {
        key: value for key, value in detection_params(seeds=[0, 1]).items() if key in Params.model_fields
    }
    tables = {name: Path(f"{name}.parquet") for name in (*TABLES, "aspects")}
    evaluate_detector(validate(Params, known), **tables, facts=Path("facts.json"), runs=Path("models"), out=Path(out))
    return Path(out)


def test_ap_of_both_arms_and_their_gap() -> None:
    out = run()
    table = pd.read_csv(out / "ap.csv").set_index("arm")
    assert list(table.columns) == ["model", "n_seeds", *(name for one in MEASURES for name in (one, f"{one}_std"))]
    assert table["AP"].to_dict() == pytest.approx({"baseline": 50, "makd": 100, "gap": 50})
    assert table["AP_std"].to_dict() == pytest.approx({"baseline": 5000**0.5, "makd": 0, "gap": 5000**0.5}, rel=1e-5)
    categories = pd.read_csv(out / "categories.csv").set_index("category")
    assert categories.loc["owl", ["test_boxes", "baseline", "makd", "change"]].tolist() == [1, 50, 100, 50]
    assert len(pd.read_csv(out / "runs.csv")) == 4
    agreement = pd.read_csv(out / "agreement.csv")
    assert list(agreement["question"]) == QUESTIONS
    np.testing.assert_allclose(agreement["abs_diff"], 0, atol=1e-6)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["models"][MODEL]["gap"]["AP"] == 50
    assert metrics["pictures"] == {"train": 7, "test": 5}
    assert "+50.0 ± 70.7" in (out / "ap.md").read_text()
    assert {path.name for path in (out / "figures").iterdir()} == {"ap.png", "detections.png"}


def test_equal_runs_give_equal_bytes() -> None:
    first, again = run("first"), run("again")
    for file in sorted(path for path in first.rglob("*") if path.is_file()):
        assert file.read_bytes() == (again / file.relative_to(first)).read_bytes(), file


def test_detections_of_another_dataset_are_refused() -> None:
    write_results(
        pd.DataFrame([[77, 1, 0, 0, 5, 5, 0.5]], columns=COLUMNS), Path(f"models/{MODEL}/makd/seed1/detections.json")
    )
    with pytest.raises(UserError, match="has detections in 1 pictures that are not of the test split"):
        run()


def test_detections_of_no_category_are_refused() -> None:
    write_results(
        pd.DataFrame([[0, 2, 0, 0, 5, 5, 0.5]], columns=COLUMNS), Path(f"models/{MODEL}/makd/seed1/detections.json")
    )
    with pytest.raises(UserError, match="detections of category_id 2, which is none of the dataset"):
        run()


def test_every_run_is_in_the_training_table() -> None:
    table = pd.read_csv(run() / "training.csv")
    assert len(table.groupby(["model", "arm", "seed"])) == 4
    assert table["iteration"].tolist() == [2, 4] * 4


@pytest.mark.parametrize("change", ["reversed", "renamed"])
def test_a_student_of_other_pictures_or_questions_is_refused(change: str) -> None:
    file = Path(f"models/{MODEL}/makd/seed1/aspects.parquet")
    student = pd.read_parquet(file)
    other = student[::-1] if change == "reversed" else student.rename(columns={QUESTIONS[0]: "Is it big?"})
    other.to_parquet(file, index=False)
    with pytest.raises(UserError, match="is about other pictures or questions than"):
        run()


def test_the_teacher_stands_beside_the_truth_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pd.read_csv(run() / "agreement.csv")["teacher_auc"].isna().all()
    answers = pd.read_parquet("aspects.parquet").set_index("path")[QUESTIONS]
    monkeypatch.setattr("stages.evaluate_detector.TRUTH", "train.json")  # beside the splits: any file there
    monkeypatch.setattr(
        "stages.evaluate_detector.true_answers",
        lambda facts, file, paths, questions: (answers.loc[paths].to_numpy() > 0.5).astype(np.float64),
    )
    assert pd.read_csv(run() / "agreement.csv")["teacher_auc"].tolist() == [1, 1]


@pytest.mark.parametrize("spoil", ["history", "picture"])
def test_what_is_gone_is_named_before_a_table_is_written(spoil: str) -> None:
    gone = Path(f"models/{MODEL}/makd/seed1/history.csv") if spoil == "history" else Path("set/test/0.png")
    gone.unlink()
    with pytest.raises(UserError, match=gone.name):
        run()
    assert not [path for path in Path("reports").glob("*") if path.is_file()]


def test_a_table_of_another_kind_is_refused() -> None:
    Path("boxes.parquet").write_bytes(Path("manifest.parquet").read_bytes())
    with pytest.raises(UserError, match=r"boxes\.parquet must have the columns split, coco_id, label, left"):
        run()


def test_a_missing_run_is_named() -> None:
    Path(f"models/{MODEL}/baseline/seed1/detections.json").unlink()
    with pytest.raises(UserError, match=r"baseline/seed1/detections\.json cannot be read"):
        run()
