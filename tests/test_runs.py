from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.errors import UserError
from makd.manifest import read_manifest
from makd.runs import Runs, read_runs
from tests.made_up_runs import MadeUpRuns, write_frame


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    return MadeUpRuns(tmp_path, models=("resnet10t",), seeds=(0,)).write()


def read(made_up: MadeUpRuns) -> Runs:
    return read_runs(made_up.runs, read_manifest(made_up.manifest), made_up.models, made_up.seeds)


def change_predictions(made_up: MadeUpRuns, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = made_up.folder("resnet10t", "makd", 0) / "predictions.parquet"
    write_frame(change(pd.read_parquet(path)), path)


def test_only_the_runs_that_are_asked_for_are_read(made_up: MadeUpRuns) -> None:
    (made_up.runs / "resnet10t/makd/seed7").mkdir()
    assert list(read(made_up)) == [("resnet10t", "baseline", 0), ("resnet10t", "makd", 0)]


def test_rows_are_in_the_order_of_the_manifest_whatever_the_file_has(made_up: MadeUpRuns) -> None:
    before = read(made_up)["resnet10t", "makd", 0]
    change_predictions(made_up, lambda table: table.sample(frac=1, random_state=0))
    after = read(made_up)["resnet10t", "makd", 0]
    expected = made_up.images.loc[made_up.images["split"] == "test", "path"]
    assert list(after.predictions["test"]["path"]) == list(expected)
    assert np.array_equal(after.correct("test"), before.correct("test"))
    assert np.array_equal(after.p_yes("test"), before.p_yes("test"))


def test_what_the_file_calls_predicted_does_not_count(made_up: MadeUpRuns) -> None:
    before = read(made_up)["resnet10t", "makd", 0].correct("test")
    change_predictions(made_up, lambda table: table.assign(predicted=table["class_name"]))
    assert np.array_equal(read(made_up)["resnet10t", "makd", 0].correct("test"), before)
    assert not before.all()


def test_an_aspect_is_never_the_prediction(made_up: MadeUpRuns) -> None:
    before = read(made_up)["resnet10t", "makd", 0].correct("test")
    aspects = {f"aspect: {question}": np.float32(1) for question in made_up.questions}
    change_predictions(made_up, lambda table: table.assign(**aspects))
    assert np.array_equal(read(made_up)["resnet10t", "makd", 0].correct("test"), before)


def test_the_baseline_has_no_questions_and_makd_those_of_the_teacher_in_order(made_up: MadeUpRuns) -> None:
    runs = read(made_up)
    assert runs["resnet10t", "baseline", 0].questions == []
    assert runs["resnet10t", "makd", 0].questions == made_up.questions


def of_test(table: pd.DataFrame) -> pd.DataFrame:
    return table.index[table["split"] == "test"]


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(index=of_test(table)[3]),
        lambda table: pd.concat([table, table.loc[of_test(table)[:1]]]),
        lambda table: table.drop(index=of_test(table)[3]).pipe(lambda rest: pd.concat([rest, rest.tail(1)])),
        lambda table: table.assign(image_id=table["image_id"].str.upper()),
        lambda table: table.assign(label=2 - table["label"]),
        lambda table: table[table["split"] != "val"],
    ],
    ids=["dropped", "doubled", "dropped and doubled", "other picture", "other label", "without val"],
)
def test_rows_that_are_not_one_to_one_with_the_manifest_are_refused(
    made_up: MadeUpRuns, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    change_predictions(made_up, change)
    with pytest.raises(UserError, match=r"predictions.parquet: its \d+ \w+ rows are not the manifest's .*dvc repro"):
        read(made_up)


def test_a_dropped_image_is_named(made_up: MadeUpRuns) -> None:
    change_predictions(made_up, lambda table: table[table["path"] != "images/test/3/class 001.png"])
    with pytest.raises(UserError, match=r"its 35 test rows are not the manifest's 36, .* images/test/3/class 001\.png"):
        read(made_up)


@pytest.mark.parametrize("name", ["config.json", "history.csv", "predictions.parquet"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(made_up: MadeUpRuns, name: str) -> None:
    (made_up.folder("resnet10t", "baseline", 0) / name).unlink()
    with pytest.raises(UserError, match=rf"resnet10t/baseline/seed0/{name} is missing; run: dvc repro"):
        read(made_up)


def test_runs_of_other_classes_are_refused(made_up: MadeUpRuns) -> None:
    manifest = made_up.images.assign(class_name=made_up.images["class_name"].str.upper())
    with pytest.raises(UserError, match="other than the manifest's"):
        read_runs(made_up.runs, manifest, made_up.models, made_up.seeds)


def test_probabilities_that_are_not_numbers_are_refused(made_up: MadeUpRuns) -> None:
    change_predictions(made_up, lambda table: table.assign(**{"class: class 000": np.float32(np.nan)}))
    with pytest.raises(UserError, match="diverged"):
        read(made_up)
