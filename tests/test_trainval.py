"""The paper's protocol has no validation images: what follows the manifest goes without them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.manifest import read_manifest
from makd.params import read_params, validate
from makd.runtime import Runtime
from stages.evaluate import Params as EvaluateParams
from stages.evaluate import evaluate
from stages.prepare_dataset import Params as PrepareParams
from stages.prepare_dataset import prepare_dataset
from stages.train import BaselineParams, train
from stages.train import Params as TrainParams
from tests.miniatures import dtd

RUNTIME = Runtime(device="cpu", workers=0, progress=False)
QUESTIONS = ["Are there stripes?", "Is it jagged?"]


def write_answers(manifest: Path, aspects: Path) -> None:
    images = read_manifest(manifest)
    p_yes = np.random.default_rng(0).random((len(images), len(QUESTIONS)), dtype=np.float32)
    pd.concat([images, pd.DataFrame(p_yes, columns=QUESTIONS)], axis=1).to_parquet(aspects)


@pytest.mark.filterwarnings("error")
def test_training_and_report_go_without_validation_images(tmp_path: Path) -> None:
    dtd(tmp_path)
    params = read_params()
    params["dataset"] = "dtd"
    params["prepare_dataset"] |= {"root": str(tmp_path), "val_fraction": 0.0}
    params["train"] |= {"image_px": 16, "resize_px": 16, "epochs": 2, "batch_size": 4, "milestones": [1]}
    params |= {"n_questions": len(QUESTIONS), "seeds": [0]}
    params["evaluate"] |= {"bootstrap_samples": 100, "tsne_perplexity": 2.0}
    manifest, aspects, zero_shot = (tmp_path / f"{name}.parquet" for name in ("manifest", "aspects", "zero_shot"))

    def of(kind: type[PrepareParams | BaselineParams | EvaluateParams]) -> dict[str, object]:
        return {key: params[key] for key in kind.model_fields}

    prepare_dataset(validate(PrepareParams, of(PrepareParams)), RUNTIME, manifest=manifest)
    write_answers(manifest, aspects)
    pd.DataFrame({"image_id": pd.Series(dtype=str)}).to_parquet(zero_shot)
    for arm, kind in (("baseline", BaselineParams), ("makd", TrainParams)):
        train(
            validate(kind, of(kind)),
            RUNTIME,
            model="resnet10t",
            seed=0,
            manifest=manifest,
            aspects=aspects if arm == "makd" else None,
            teacher=None,
            out=tmp_path / "models" / "resnet10t" / arm / "seed0",
        )
    evaluate(
        validate(EvaluateParams, of(EvaluateParams)),
        manifest=manifest,
        aspects=aspects,
        zero_shot=zero_shot,
        runs=tmp_path / "models",
        facts=tmp_path / "no_facts.json",
        attributes=None,
        out=tmp_path / "reports",
    )
    found = json.loads((tmp_path / "reports" / "metrics.json").read_text())["models"]["resnet10t"]
    assert 0 <= found["test"]["makd"] <= 100
    accuracy = pd.read_csv(tmp_path / "reports" / "accuracy.csv")
    assert accuracy[["baseline_val", "makd_val"]].isna().all(axis=None)
    assert pd.read_csv(tmp_path / "reports" / "runs.csv")["val_accuracy"].isna().all()
