"""The extract_logits stage with a quick fake model, for tests that run it in processes of their own, and kill them."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from PIL import Image

import makd.answering
from makd.estimate import Cost
from makd.manifest import write_manifest
from makd.pictures import image_id
from makd.questions import Question, write_questions
from makd.runtime import Runtime
from makd.scorer import SelfTest
from makd.shards import Share
from stages.extract_logits import extract_logits
from tests.extract_params import extract_params, extract_paths

QUESTIONS = ["Is it grey?", "Is it bright?", "Is it dark?"]
SHARD = 4
POISON = 77
"""A picture so grey kills who answers it, where a file `poison` lies beside the log."""
RUNTIME = Runtime(workers=0, shard_images=SHARD, progress=False, device="cpu")


class FakeReader:
    def inputs(self, image: Image.Image) -> dict[str, torch.Tensor]:
        return {"grey": torch.tensor(float(np.asarray(image).mean()))}


class FakeScorer:
    """z_yes is the brightness, z_no the place of the question and, as of a real one's bits, a matter of the batch."""

    def __init__(self, log: Path, seconds_per_image: float, n_questions: int) -> None:
        self.log, self.seconds_per_image = log, seconds_per_image
        self.reader, self.why_one_by_one = FakeReader(), None
        self.z_no = torch.arange(float(n_questions))

    def self_test(self, images: Sequence[Image.Image]) -> SelfTest:
        return SelfTest(0.0, 2, 1.0, 1.0, {"Yes": 2})

    def cost(self, inputs: dict[str, torch.Tensor]) -> Cost:
        return Cost(tokens=1, flops=1)

    def score(self, batch: Sequence[dict[str, torch.Tensor]]) -> torch.Tensor:
        with self.log.open("a") as file:
            file.write(f"{len(batch)} {os.getpid()}\n")
        time.sleep(self.seconds_per_image * len(batch))
        grey = torch.stack([inputs["grey"] for inputs in batch])[:, None].expand(-1, len(self.z_no))
        if self.log.with_name("poison").exists() and (grey == POISON).any():
            os._exit(1)
        return torch.stack([grey, self.z_no.expand_as(grey) + grey.mean() / 7], dim=-1)


@dataclass(frozen=True)
class FakeScorers:
    """Takes the place of `makd.answering.Answerers`; `log` has how many images which process was asked about."""

    log: Path
    seconds_per_image: float
    device = "cpu"

    def __call__(self, questions: list[Question]) -> FakeScorer:
        return FakeScorer(self.log, self.seconds_per_image, len(questions))

    def close(self) -> None: ...

    def check_complete(self) -> None: ...


def make_project(folder: Path, n_images: int) -> None:
    """Pictures and the files that the stage reads; the weights of the model are a file of three bytes."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(b"abc")
    (folder / "model" / "config.json").write_text("{}")
    (folder / "ask.txt").write_text("$question Yes or No?\n")
    (folder / "zero_shot.txt").write_text("Is this a $class_name?\n")
    write_questions([Question(text=text) for text in QUESTIONS], folder / "selected.json", model="m", prompt="p")
    rows = []
    for k in range(n_images):
        path = folder / f"{k:03d}.png"
        Image.new("RGB", (4, 4), (k % 256,) * 3).save(path)
        rows.append((image_id(path.read_bytes()), path.as_posix(), "train", 0, "a"))
    columns = ["image_id", "path", "split", "label", "class_name"]
    write_manifest(pd.DataFrame(rows, columns=columns), folder / "manifest.parquet")


def run_stage(
    folder: Path,
    manifest: Path,
    out: Path,
    cache: Path,
    seconds_per_image: float = 0.0,
    share: Share | None = None,
    runtime: Runtime = RUNTIME,
) -> None:
    """The stage on the project in `folder`, with outputs in `out` and the store in `cache`."""
    os.environ["MAKD_CACHE"] = str(cache)
    fake = FakeScorers(out / "asked.log", seconds_per_image)
    makd.answering.Answerers = lambda *_: fake  # type: ignore[assignment, misc]
    extract_logits(
        extract_params(folder / "model", len(QUESTIONS), splits=["train"]),
        runtime,
        False,
        share,
        **extract_paths(folder, out) | {"manifest": manifest},
    )


def asked_images(out: Path) -> int:
    """How many images the runs with outputs in `out` have asked about, some of them in vain."""
    log = out / "asked.log"
    return sum(int(line.split()[0]) for line in log.read_text().splitlines()) if log.exists() else 0


def answering(out: Path) -> list[int]:
    """The processes that have answered so far, the last one last."""
    log = out / "asked.log"
    return [int(line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []


def stored_rows(cache: Path) -> list[str]:
    """The images of all parts of all stores, one that lies in two parts twice."""
    parts = sorted(cache.glob("answers/*/part-*.parquet"))
    return [image_id for part in parts for image_id in pq.read_table(part, columns=["image_id"])[0].to_pylist()]


def start_stage(
    folder: Path, manifest: Path, out: Path, cache: Path, seconds_per_image: float = 0.0, share: Share | None = None
) -> ForkServerProcess:
    """`run_stage` in a process of its own, which starts with all that it needs imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "makd.extraction", "makd.answer_tables", "makd.weights", "makd.devices"])
    process = context.Process(target=run_stage, args=(folder, manifest, out, cache, seconds_per_image, share))
    process.start()
    return process
