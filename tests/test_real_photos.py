"""On photos that do not ship with the project: MAKD_PHOTOS names a folder of image folders, train/ and val/ in each."""

import os
from pathlib import Path

import numpy as np
import pytest

from makd.extraction import ask_missing
from makd.manifest import read_manifest
from makd.questions import Question
from makd.runtime import Runtime
from makd.scorer import Scorer
from makd.store import AnswerStore
from makd.vlm import VLM
from makd.wanted import Wanted
from stages.prepare_dataset import Params, prepare_dataset

PHOTOS = Path(os.environ.get("MAKD_PHOTOS", "absent"))
FOLDERS = sorted(path.parent for path in PHOTOS.glob("*/train")) if PHOTOS.is_dir() else []
RUNTIME = Runtime(workers=2, progress=False, device="cpu")

pytestmark = pytest.mark.real


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_photos_are_listed_hashed_and_answered(folder: Path, tmp_path: Path) -> None:
    block = {"root": folder, "val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0, "birds": {}}
    chosen = Params.model_validate({"dataset": "imagefolder", "prepare_dataset": block})
    prepare_dataset(chosen, RUNTIME, manifest=tmp_path / "manifest.parquet")
    rows = read_manifest(tmp_path / "manifest.parquet")
    assert set(rows["split"]) == {"train", "val", "test"}
    assert rows["class_name"].nunique() == len([path for path in (folder / "train").iterdir() if path.is_dir()])
    images = rows.drop_duplicates("image_id").set_index("image_id")["path"][::50]
    questions = [Question(text="Is there a bird in the image?"), Question(text="Does the object have wheels?")]
    store = AnswerStore(tmp_path / "answers", {})
    vlm, every = VLM("data/tiny_vlm"), np.ones(len(images), bool)
    wanted = Wanted(images, questions, [], every, ~every)
    report = ask_missing(store, wanted, lambda asked: Scorer(vlm, [question.text for question in asked]), RUNTIME)
    assert report.asked == 2 * len(images)
    assert not store.read(list(images.index), [question.id for question in questions]).missing.any()
