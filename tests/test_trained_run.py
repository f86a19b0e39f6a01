"""A folder of `train` that something happened to."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from makd.errors import UserError
from makd.trained_run import open_run
from tests.trained_project import TrainedProject


@pytest.fixture
def run(trained: TrainedProject, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.run(), tmp_path / "run"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {}}, "params missing or wrong; give a folder that `train` wrote"),
        ({"resize_px": 31}, "image_px 32 is cut from resize_px 31 and must not exceed it"),
        ({"classes": "auk"}, "classes missing or wrong"),
    ],
)
def test_a_config_that_is_none_is_refused(run: Path, change: dict[str, Any], message: str) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        open_run(run)


def test_predictions_without_a_column_are_refused(run: Path) -> None:
    file = run / "predictions.parquet"
    pd.read_parquet(file).drop(columns="image_id").to_parquet(file)
    with pytest.raises(UserError, match=r"predictions\.parquet has no column 'image_id'; run: dvc repro, or remove"):
        open_run(run)
    file.unlink()
    assert open_run(run).predictions is None
