"""A folder of `train` that something happened to."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from makd.errors import UserError
from makd.export import export
from makd.trained_run import open_run
from tests.trained_project import TrainedProject


@pytest.fixture
def run(trained: TrainedProject, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.run(), tmp_path / "run"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {}}, "params missing or wrong; give a folder that `train` wrote"),
        ({"classes": "auk"}, "classes missing or wrong"),
    ],
)
def test_a_config_that_is_none_is_refused(run: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        open_run(run)


def test_pictures_need_not_be_cropped(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"resize_px": config["image_px"]}))
    assert open_run(run).config.resize_px == 32


@pytest.mark.parametrize("change", [{"std": [0.0, 1.0, 1.0]}, {"resize_px": 9000}, {"resize_px": 31}])
def test_what_could_not_be_loaded_again_is_not_exported(run: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=r"run cannot be exported: .*; run: dvc repro"):
        export(run, tmp_path / "out")


def test_predictions_without_a_column_are_refused(run: Path) -> None:
    file = run / "predictions.parquet"
    pd.read_parquet(file).drop(columns="image_id").to_parquet(file)
    with pytest.raises(UserError, match=r"predictions\.parquet has no column 'image_id'; run: dvc repro, or remove"):
        open_run(run)
    file.unlink()
    assert open_run(run).predictions is None
