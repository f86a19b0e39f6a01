from pathlib import Path

import pandas as pd
import pytest
import yaml
from torch import nn

from makd.manifest import write_manifest
from makd.questions import Question, write_questions
from makd.run_facts import RunFacts, Sources, facts_of
from makd.trained_run import TrainedRun
from tests.made_up_runs import MadeUpRuns, run_config, write_frame

TEACHER = {"backend": "transformers", "model": "a teacher", "revision": "r1", "table": None}


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",)).write()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"dataset": "owls", "extract_logits": TEACHER}))
    write_asked(made_up, made_up.questions)
    return made_up


def write_asked(made_up: MadeUpRuns, texts: list[str]) -> None:
    path = made_up.root / "data/questions/selected.json"
    write_questions([Question(text=text) for text in texts], path, model="an author", prompt=None)


def predictions(made_up: MadeUpRuns, arm: str) -> pd.DataFrame:
    """Of seed 1."""
    return pd.read_parquet(made_up.folder("resnet10t", arm, 1) / "predictions.parquet")


def facts(made_up: MadeUpRuns, arm: str = "makd") -> RunFacts:
    """Of seed 1."""
    config = run_config(arm=arm, questions=tuple(made_up.questions) if arm == "makd" else ())
    folder = made_up.folder("resnet10t", arm, 1)
    return facts_of(TrainedRun(folder, config, nn.Identity(), predictions(made_up, arm)), made_up.root / "data")


def test_accuracy_and_gap_are_those_of_the_predictions_of_the_seed(made_up: MadeUpRuns) -> None:
    right = {}
    for arm in ("makd", "baseline"):
        table = predictions(made_up, arm)
        right[arm] = 100 * (table["predicted"] == table["class_name"]).groupby(table["split"]).mean()
    found = facts(made_up)
    assert {split: one.percent for split, one in found.accuracy.items()} == pytest.approx(right["makd"].to_dict())
    assert right["makd"]["val"] != right["makd"]["test"]
    gap = right["makd"]["test"] - right["baseline"]["test"]
    assert found.gap is not None
    assert (found.gap.baseline, found.gap.gap) == pytest.approx((right["baseline"]["test"], gap))
    assert found.gap.low < gap < found.gap.high
    assert found.splits == {"train": 9, "val": 12, "test": 36}


def test_only_the_makd_arm_has_a_gap_and_only_over_the_same_images(made_up: MadeUpRuns) -> None:
    assert facts(made_up, "baseline").gap is None
    other = predictions(made_up, "baseline").replace({"path": {made_up.images["path"].iloc[-1]: "another.png"}})
    write_frame(other, made_up.folder("resnet10t", "baseline", 1) / "predictions.parquet")
    assert facts(made_up).gap is None


def test_the_author_is_named_of_these_questions_alone(made_up: MadeUpRuns) -> None:
    assert facts(made_up).questions_by == "an author"
    write_asked(made_up, made_up.questions[::-1])
    assert facts(made_up).questions_by is None


def test_dataset_and_teacher_are_named_beside_the_runs_own_manifest_alone(made_up: MadeUpRuns) -> None:
    assert facts(made_up).sources == Sources("owls", **TEACHER)
    write_manifest(made_up.images.iloc[:-1], made_up.manifest)
    found = facts(made_up)
    assert (found.splits, found.sources) == (None, Sources())
