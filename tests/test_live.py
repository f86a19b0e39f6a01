import json
from pathlib import Path

import pandas as pd

from makd.live import live_metrics


def test_metrics_can_be_seen_while_a_run_trains_and_are_gone_behind_it(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    with live_metrics(folder) as log:
        log({"epoch": 1, "lr": 0.1, "val_accuracy": 0.25})
        log({"epoch": 2, "lr": 0.1, "val_accuracy": 0.5})
        now = json.loads((folder / "metrics.json").read_text())
        assert (now["val_accuracy"], now["lr"]) == (0.5, 0.1)
        curve = pd.read_csv(folder / "plots/metrics/val_accuracy.tsv", sep="\t")
        assert list(curve["val_accuracy"]) == [0.25, 0.5]
        assert "metrics.json" in (folder / "dvc.yaml").read_text()
    assert not folder.exists()


def test_a_second_process_writes_nothing(tmp_path: Path) -> None:
    with live_metrics(tmp_path / "live", shown=False) as log:
        log({"epoch": 1, "lr": 0.1})
        assert not list(tmp_path.iterdir())
