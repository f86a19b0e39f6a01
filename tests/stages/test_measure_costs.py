"""The costs themselves are tested in tests/test_costs.py; here, what they are measured of."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import makd.costs
from makd.extraction_speed import Speed, keep_speed
from makd.files import cache_dir
from makd.params import read_params, validate
from makd.provenance import provenance
from makd.runtime import Runtime
from makd.store import store_key
from stages.measure_costs import Params, measure_costs
from tests.made_up_report import write_costs
from tests.made_up_runs import MadeUpRuns

MODELS = ("mobilenetv3_small_050", "resnet10t")
RUNTIME = Runtime(device="cpu", workers=0, progress=False)


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    made_up = MadeUpRuns(tmp_path, models=MODELS, n_questions=5)
    made_up.write_manifest()
    made_up.write_answers()
    (tmp_path / "ask.txt").write_text("$question Yes or No?\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    return made_up


def params_of(made_up: MadeUpRuns, **asking: object) -> Params:
    params = read_params()
    small = {"image_px": 32, "resize_px": 32, "stored_px": 32, "batch_size": 4, "pretrained": False, "model_args": {}}
    asking = {"model": str(made_up.root / "model")} | asking
    values = {"train": params["train"] | small, "extract_logits": params["extract_logits"] | asking}
    return validate(Params, values | {"models": MODELS})


def run(made_up: MadeUpRuns, params: Params) -> pd.DataFrame:
    root = made_up.root
    places = {"manifest": made_up.manifest, "aspects": made_up.aspects, "prompt": root / "ask.txt"}
    measure_costs(params, RUNTIME, **places, out=root / "costs.csv")
    return pd.read_csv(root / "costs.csv")


def store_of(made_up: MadeUpRuns, params: Params) -> Path:
    return cache_dir() / "answers" / store_key(provenance(params.extract_logits, made_up.root / "ask.txt"))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What costs are asked for; nothing is measured."""
    asked: list[tuple[Any, ...]] = []

    def told(model: str, n_classes: int, n_questions: int, recipe: object, *, device: str, n_train: int) -> Any:
        asked.append((model, n_classes, n_questions, device, n_train))
        return {"model": model, "baseline_train_seconds": 2.0, "train_ratio": 1.1, "inference_ratio": 1.01}

    monkeypatch.setattr(makd.costs, "student_costs", told)
    return asked


def test_every_student_has_a_row_of_costs_that_are_real(made_up: MadeUpRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makd.costs, "ROUNDS", 1)
    monkeypatch.setattr(makd.costs, "ROUND_SECONDS", 0.01)
    params = params_of(made_up)
    keep_speed(store_of(made_up, params), Speed("a GPU", 100, 5000, 20.0))
    table = run(made_up, params)
    assert table["model"].tolist() == list(MODELS)
    numbers = table.select_dtypes("number")
    assert (numbers > 0).all(axis=None)
    assert (table["makd_parameters"] > table["baseline_parameters"]).all()
    assert table["device"].str.contains("thread").all()
    write_costs(made_up.root / "made_up.csv", MODELS)
    assert set(table) == set(pd.read_csv(made_up.root / "made_up.csv")), "what other tests take for it"


def test_costs_are_of_the_classes_the_questions_and_the_training_images_that_there_are(
    made_up: MadeUpRuns, measured: list[tuple[Any, ...]]
) -> None:
    table = run(made_up, params_of(made_up))
    assert measured == [(model, 3, 5, "cpu", 9) for model in MODELS]
    assert "extraction_seconds" not in table


def test_the_teachers_cost_is_that_of_its_own_store(made_up: MadeUpRuns, measured: list[tuple[Any, ...]]) -> None:
    params = params_of(made_up)
    keep_speed(store_of(made_up, params), Speed("a GPU", 100, 5000, 20.0))
    keep_speed(store_of(made_up, params_of(made_up, dtype="float16")), Speed("another", 100, 5000, 90.0))
    table = run(made_up, params)
    assert table["extraction_device"].tolist() == ["a GPU"] * 2
    assert table["extraction_seconds"].tolist() == [0.2] * 2
    assert table["extraction_questions"].tolist() == [50] * 2


def test_answers_from_a_table_cost_nothing_that_could_be_known(
    made_up: MadeUpRuns, measured: list[tuple[Any, ...]]
) -> None:
    params = params_of(made_up, backend="table", table=Path("answers.csv"), zero_shot_splits=[])
    keep_speed(store_of(made_up, params), Speed("a GPU", 100, 5000, 20.0))
    assert "extraction_device" not in run(made_up, params)
