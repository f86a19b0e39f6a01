"""What everything around the model costs, from a thousand to a million images: `python -m benchmarks.scale`.

The model is a fake one that needs no time, and pictures are not read: what is left is what grows with the project
(finding what is missing, cutting it into shards, committing them, compiling the tables). Every step is a process of its
own, in which wall-clock seconds and the peak of memory are taken; a store of its size is made, asked and compiled.
The figures are those of docs/scale.md. `make bench` runs a thousand and a hundred thousand.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.peak import status
from makd.answer_tables import write_answers, write_p_yes
from makd.conversation import WholeImages
from makd.estimate import Cost
from makd.extraction import Asked, Job, ask_missing, ask_shard
from makd.files import write_json
from makd.loading import Loaded
from makd.manifest import read_manifest, write_manifest
from makd.questions import Question
from makd.runtime import Runtime
from makd.scorer import SelfTest
from makd.shards import Shard
from makd.store import AnswerStore
from makd.wanted import Wanted

SIZES = (10**3, 10**4, 10**5, 10**6)
QUESTIONS = [Question(text=f"Is it number {k} of fifty?") for k in range(50)]  # the paper's Q
RUNTIME = Runtime(progress=False)


class NoModel:
    """Answers at once, what comes to its mind."""

    reader, why_one_by_one = WholeImages(), None

    def self_test(self, images: Sequence[Image.Image]) -> SelfTest:
        return SelfTest(0.0, 1, 1.0, 1.0, {})

    def cost(self, inputs: object) -> Cost:
        return Cost(1, 1)

    def score(self, batch: Sequence[object]) -> torch.Tensor:
        return torch.randn(len(batch), len(QUESTIONS), 2)


def without_pictures(job: Job, images: pd.Series, shards: Iterable[Shard]) -> Iterator[Asked]:
    """The engine local without its DataLoader."""
    for shard in shards:
        ready = iter(shard.image_ids)
        batches = ([Loaded(next(ready), inputs=0) for _ in range(size)] for size in shard.batches)
        yield ask_shard(job, job.make_answerer(job.questions), shard, batches)


def make_manifest(folder: Path, n_images: int) -> str:
    number = np.arange(n_images)
    rows = pd.DataFrame(
        {
            "image_id": [f"{k * 2654435761 % 2**64:032x}" for k in range(n_images)],
            "path": [f"/data/photos/{k % 1000:03d}/{k:07d}.jpg" for k in range(n_images)],
            "split": np.where(number % 20 == 0, "test", np.where(number % 20 == 1, "val", "train")),
            "label": number % 1000,
            "class_name": [f"class {k % 1000:03d}" for k in range(n_images)],
        }
    )
    write_manifest(rows, folder / "manifest.parquet")
    return f"{n_images} images"


def wanted_of(folder: Path) -> tuple[pd.DataFrame, Wanted, AnswerStore]:
    rows = read_manifest(folder / "manifest.parquet")
    splits = ("train", "val", "test")
    return rows, Wanted.of(rows, QUESTIONS, [], splits=splits, zero_shot_splits=()), AnswerStore(folder / "store", {})


def ask(folder: Path) -> str:
    """All of it, into an empty store."""
    _, wanted, store = wanted_of(folder)
    with store.lock():
        report = ask_missing(store, wanted, lambda _: NoModel(), RUNTIME, engine=without_pictures)
    assert report.images == len(wanted.images)
    return f"{len(store.parts())} parts"


def resume(folder: Path) -> str:
    """What the next run does before it knows that there is nothing to ask."""
    _, wanted, store = wanted_of(folder)
    assert not wanted.missing(store).any()
    return "0 to ask"


def compile_tables(folder: Path) -> str:
    rows, wanted, store = wanted_of(folder)
    of_aspects, _ = wanted.readers(store)
    write_p_yes(rows, [question.text for question in QUESTIONS], of_aspects, folder / "aspects.parquet")
    write_answers(store.key, [of_aspects], folder / "answers.parquet")
    megabytes = [(folder / f"{name}.parquet").stat().st_size / 1e6 for name in ("aspects", "answers")]
    return "{:.0f} and {:.0f} MB".format(*megabytes)


STEPS: dict[str, Callable[[Path], str]] = {"ask": ask, "resume": resume, "compile": compile_tables}


def measure_sizes(sizes: Sequence[int]) -> dict[str, float]:
    """Seconds an image and peak GiB, of each step and size; ratios of the largest size to the smallest."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for n_images in sizes:
            folder = Path(temporary) / str(n_images)
            folder.mkdir()
            make_manifest(folder, n_images)
            for step in STEPS:
                seconds, gib, told = run_step(step, folder)
                found[f"scale.{step}.us_per_image_{power(n_images)}"] = seconds / n_images * 1e6
                found[f"scale.{step}.peak_gib_{power(n_images)}"] = gib
                print(f"{n_images:9,} {step:8} {seconds:8.2f} s {gib:6.2f} GiB  {told}", flush=True)
    small, large = min(sizes), max(sizes)
    for step in STEPS:
        each = [found[f"scale.{step}.us_per_image_{power(size)}"] for size in (large, small)]
        found[f"scale.{step}.seconds_per_image_{power(large)}_over_{power(small)}"] = each[0] / each[1]
    total = [sum(found[f"scale.{step}.us_per_image_{power(size)}"] for step in STEPS) for size in (large, small)]
    found[f"scale.seconds_per_image_{power(large)}_over_{power(small)}"] = total[0] / total[1]
    return found


def run_step(step: str, folder: Path) -> tuple[float, float, str]:
    command = [sys.executable, "-m", "benchmarks.scale", "--step", step, "--folder", str(folder)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    return figures["seconds"], figures["peak_gib"], figures["told"]


def power(size: int) -> str:
    return f"1e{len(str(size)) - 1}"


def measure() -> dict[str, float]:
    """The ratios that `make bench` has the time for; the absolute figures are of a machine, and stay out."""
    return {name: value for name, value in measure_sizes((10**3, 10**5)).items() if "_over_" in name}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images: powers of ten")
    parser.add_argument("--out", type=Path, help="a JSON of the figures")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        start = time.perf_counter()
        told = STEPS[arguments.step](arguments.folder)
        seconds, peak = time.perf_counter() - start, status("VmHWM") // 1024
        print(json.dumps({"seconds": seconds, "peak_gib": peak / 2**20, "told": told}))
        return
    found = measure_sizes(arguments.sizes)
    for name, value in found.items():
        if "_over_" in name:
            print(f"{name:50} {value:8.3g}")
    if arguments.out:
        write_json({name: float(f"{value:.3g}") for name, value in found.items()}, arguments.out)


if __name__ == "__main__":
    main()
