"""Steps on a store of a million images by a hundred questions; each is run as a process of its own, which is measured.

`python -m tests.scale_steps STEP FOLDER` prints what came of it, then seconds and the peak of its memory as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch

from benchmarks.peak import status
from makd.answer_tables import import_answers
from makd.answers import Answers
from makd.aspects import questions_in_use
from makd.files import cache_dir
from makd.manifest import read_manifest, write_manifest
from makd.params import read_params
from makd.provenance import provenance
from makd.questions import Question, write_questions
from makd.run_data import answers_of, is_kept, training_targets
from makd.runtime import Runtime
from makd.store import AnswerStore
from makd.store_upkeep import compact, contents
from makd.targets import AspectTargets
from stages import extract_logits, train
from tests.extract_params import extract_params, extract_paths

N_IMAGES, N_QUESTIONS = 1_000_000, 100
PART_IMAGES = 2_000
QUESTIONS = [Question(text=f"Is it number {k} of a hundred?") for k in range(N_QUESTIONS)]


def extraction(folder: Path) -> extract_logits.Params:
    return extract_params(folder / "model", N_QUESTIONS)


def store_of(folder: Path) -> AnswerStore:
    return AnswerStore(cache_dir() / "answers", provenance(extraction(folder).extract_logits, folder / "ask.txt"))


def part(number: int) -> Answers:
    """The answers in a part, the same whenever it is asked for."""
    return Answers(*np.random.default_rng(number).standard_normal((2, PART_IMAGES, N_QUESTIONS), dtype=np.float32))


def make(folder: Path) -> str:
    """The manifest, and a store that knows all there is to know."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(b"abc")
    (folder / "model" / "config.json").write_text("{}")
    (folder / "ask.txt").write_text("$question Yes or No?\n")
    (folder / "zero_shot.txt").write_text("Is this a $class_name?\n")
    write_questions(QUESTIONS, folder / "selected.json", model="m", prompt="p")
    number = np.arange(N_IMAGES)
    names = [f"class {label:03d}" for label in range(1000)]
    rows = pd.DataFrame(
        {
            "image_id": [f"{k * 2654435761 % 2**64:032x}" for k in range(N_IMAGES)],
            "path": [f"/data/photos/{k % 1000:03d}/{k:07d}.jpg" for k in range(N_IMAGES)],
            "split": np.where(number % 20 == 0, "test", np.where(number % 20 == 1, "val", "train")),
            "label": number % 1000,
            "class_name": [names[k % 1000] for k in range(N_IMAGES)],
        }
    )
    write_manifest(rows, folder / "manifest.parquet")
    store, image_ids = store_of(folder), list(read_manifest(folder / "manifest.parquet")["image_id"])
    for k in range(N_IMAGES // PART_IMAGES):
        ids = image_ids[k * PART_IMAGES : (k + 1) * PART_IMAGES]
        store.add(ids, [question.id for question in QUESTIONS], part(k))
    return f"{len(store.parts())} parts"


def compile_tables(folder: Path) -> str:
    """The stage, with nothing to ask."""
    places = extract_paths(folder, folder)
    extract_logits.extract_logits(extraction(folder), Runtime(progress=False), **places)
    return ", ".join(f"{name} {places[name].stat().st_size / 1e6:.0f} MB" for name in ("aspects", "answers"))


def read_targets(folder: Path, kind: AspectTargets) -> str:
    """All that the train stage makes of the aspect table before it reads a picture."""
    dials = {"train_fraction": 1.0, "n_questions": N_QUESTIONS, "aspect_targets": kind}
    known = {key: value for key, value in read_params().items() if key in train.Params.model_fields}
    params = train.Params.model_validate(known | dials)
    aspects = folder / "aspects.parquet"
    rows = read_manifest(folder / "manifest.parquet")
    assert questions_in_use(aspects, N_QUESTIONS) == [question.text for question in QUESTIONS]
    split = {name: rows[rows["split"] == name] for name in ("train", "val", "test")}
    kept = split["train"][is_kept(split["train"], params.train_fraction, seed=0)]
    targets = torch.from_numpy(training_targets(kept, aspects, params.aspect_targets, seed=0))
    others = [torch.from_numpy(answers_of(split[name], aspects)) for name in ("val", "test")]
    assert sum(map(len, [targets, *others])) == N_IMAGES
    if kind == "mllm":
        np.testing.assert_array_equal(targets[:PART_IMAGES], part(0).p_yes)
    return f"{len(targets):,} training images"


def compact_store(folder: Path) -> str:
    store = store_of(folder)
    before, after = compact(store.folder.parent, store.key)
    return f"{before} parts, then {after}"


def import_into_a_lost_store(folder: Path) -> str:
    return f"{import_answers(folder / 'answers.parquet', store_of(folder)):,} answers"


STEPS: dict[str, Callable[[Path], str]] = {
    "make": make,
    "compile": compile_tables,
    **{f"targets {kind}": partial(read_targets, kind=kind) for kind in get_args(AspectTargets)},
    "compact": compact_store,
    "count": lambda folder: str(contents(store_of(folder).folder)),
    "import": import_into_a_lost_store,
}


if __name__ == "__main__":
    start = time.monotonic()
    print(STEPS[sys.argv[1]](Path(sys.argv[2])))
    seconds, peak = time.monotonic() - start, status("VmHWM") // 1024
    print(json.dumps({"seconds": seconds, "peak_kib": peak}))
