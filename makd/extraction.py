"""Asking what the store lacks: images in shards (makd/shards.py), each committed as soon as it is answered.

Who answers is an `Answerer`, which an engine makes where it is to run: this process, or actors on the machines of a
cluster (makd/ray_engine.py). All engines ask the same batches, commit the same shards, and share `Job`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch.utils.data import DataLoader

from makd.answerer import Answerer, MakeAnswerer, Metered
from makd.answers import Answers
from makd.errors import UserError
from makd.interrupt import after_this, ignore_interrupts
from makd.loading import Loaded, Pictures
from makd.progress import progress_bar
from makd.questions import Question
from makd.runtime import Runtime
from makd.shards import Shard, by_pattern, cut, shard_numbers
from makd.store import AnswerStore
from makd.trial import print_estimate, run_self_test
from makd.wanted import Wanted

ESTIMATED_IMAGES = 256
"""Fewer are asked without saying first how long it takes."""


@dataclass(frozen=True)
class Job:
    """Some questions, and all that it takes to ask them; each process that answers gets a copy."""

    store: AnswerStore
    make_answerer: MakeAnswerer
    questions: list[Question]
    runtime: Runtime


@dataclass(frozen=True)
class Asked:
    """What came of a shard, once its answers are in the store."""

    images: int
    answers: int
    unreadable: dict[str, str]  # why, by path
    part: str | None  # the name of its part; None where no image could be read
    seconds: float = 0.0  # since the one before: of reading, answering and committing


Engine = Callable[[Job, pd.Series, Iterable[Shard]], Iterator[Asked]]
"""Asks the questions of a job about images (path by image_id), which come in shards; in any order."""


@dataclass
class Report:
    """What one run asked and how long that took, and which images could not be read."""

    asked: int = 0
    images: int = 0  # of which a shard was committed; once for each set of questions that was asked
    seconds: float = 0.0  # of reading, answering and committing
    unreadable: dict[str, str] = field(default_factory=dict)  # why, by path

    def add(self, asked: Asked) -> None:
        self.asked += asked.answers
        self.images += asked.images
        self.seconds += asked.seconds
        self.unreadable |= asked.unreadable


def in_this_process(job: Job, images: pd.Series, shards: Iterable[Shard]) -> Iterator[Asked]:
    """The engine local: pictures are read in worker processes, and answered here, shard by shard.

    Raises:
        UserError: a picture that is gone or has changed, a failed self-test.
        KeyboardInterrupt: after the shard in flight.
    """
    runtime = job.runtime
    scorer = job.make_answerer(job.questions)
    run_self_test(scorer, images, job.store)
    if len(images) >= ESTIMATED_IMAGES or isinstance(scorer, Metered):
        print_estimate(scorer, images, len(job.questions), runtime.workers)
    shards = list(shards)
    order = pd.Index([image_id for shard in shards for image_id in shard.image_ids])
    loader = DataLoader(
        Pictures(images.loc[order], scorer.reader),
        batch_sampler=in_batches(shards),
        num_workers=min(runtime.workers, len(images) // runtime.batch_images),
        collate_fn=list,
        worker_init_fn=ignore_interrupts,
    )
    with after_this("shard") as interrupted:
        last, loaded = time.perf_counter(), iter(loader)
        for shard in shards:
            asked = ask_shard(job, scorer, shard, islice(loaded, len(shard.batches)))
            now = time.perf_counter()
            yield replace(asked, seconds=now - last)
            last = now
            if interrupted.is_set():
                raise KeyboardInterrupt


def ask_missing(
    store: AnswerStore,
    wanted: Wanted,
    make_answerer: MakeAnswerer,
    runtime: Runtime,
    *,
    engine: Engine = in_this_process,
    really: bool = True,
) -> Report:
    """Ask what is wanted and the store lacks, and commit shard by shard.

    Args:
        store: locked by the caller.
        wanted: images and questions.
        make_answerer: of some of the questions.
        runtime: shard and batch size, worker processes, progress bar.
        engine: where the answers are given.
        really: False only says what asking would cost, of one process, which is this one.

    Raises:
        UserError: a picture that is gone or has changed, a failed self-test, not one picture that can be read.
        KeyboardInterrupt: after the shard in flight.
    """
    report = Report()
    store.write_provenance()
    missing, numbers = wanted.missing(store), shard_numbers(wanted, runtime.shard_images)
    with progress_bar(int(missing.sum()), title="asking", unit="answers", shown=runtime.progress and really) as bar:
        for pattern, rows in by_pattern(missing):
            questions = [question for question, lacks in zip(wanted.questions, pattern, strict=True) if lacks]
            some = wanted.images[rows]
            job = Job(store, make_answerer, questions, runtime)
            if not really:
                scorer = make_answerer(questions)
                run_self_test(scorer, some, store)
                print_estimate(scorer, some, len(questions), runtime.workers)
                continue
            for asked in engine(job, some, cut(some, numbers[rows], runtime.shard_images, runtime.batch_images)):
                report.add(asked)
                if report.seconds:
                    bar.set_postfix_str(f"{report.images / report.seconds:.3g} images/s", refresh=False)
                bar.update(asked.answers)
    store.note_unreadable(list(wanted.images.index[wanted.images.isin(report.unreadable)]))
    if report.unreadable and len(report.unreadable) == len(wanted.images):
        raise UserError(f"none of {len(wanted.images)} images can be read: {next(iter(report.unreadable.values()))}")
    return report


def ask_shard(job: Job, answerer: Answerer, shard: Shard, batches: Iterable[Sequence[Loaded]]) -> Asked:
    """Answer a shard, whose images come in its batches, and commit it. Pictures that are no good cost themselves.

    Raises:
        UserError: a picture that is gone or has changed, an answer that is no number, a server that answers no more.
    """
    path = dict(zip(shard.image_ids, shard.paths, strict=True))
    image_ids: list[str] = []
    unreadable: dict[str, str] = {}
    logits = []
    stopped: UserError | None = None
    try:
        for batch in batches:
            unreadable |= {path[one.image_id]: one.unreadable for one in batch if one.unreadable is not None}
            if good := readable(batch):
                logits.append(answerer.score([one.inputs for one in good]).numpy())
                image_ids += [one.image_id for one in good]
    except UserError as error:  # what was answered before is kept: it may have cost money
        stopped = error
    asked = Asked(0, 0, unreadable, None)
    if logits:
        z = np.concatenate(logits)
        check_finite(z, [path[image_id] for image_id in image_ids])
        answers = Answers.of(z)
        part = job.store.add(image_ids, [question.id for question in job.questions], answers)
        asked = Asked(len(image_ids), int((~answers.missing).sum()), unreadable, part.name)
    if stopped is not None:
        raise stopped
    return asked


def readable(batch: Sequence[Loaded]) -> list[Loaded]:
    """Raises a UserError where a picture is gone or has changed."""
    if fatal := next((one.fatal for one in batch if one.fatal is not None), None):
        raise UserError(fatal)
    return [one for one in batch if one.unreadable is None]


def in_batches(shards: Iterable[Shard]) -> list[list[int]]:
    """The places of the images of each batch, where those of all shards lie in a row."""
    sizes = [size for shard in shards for size in shard.batches]
    stops = np.cumsum(sizes, dtype=np.int64).tolist()
    return [list(range(stop - size, stop)) for size, stop in zip(sizes, stops, strict=True)]


def check_finite(z: npt.NDArray[np.float32], paths: list[str]) -> None:
    """An answer that is no number is a fault of the model's arithmetic, and would be asked again in every run.

    Where there are bounds, it is one that a server did not give.
    """
    if z.shape[-1] > 2:
        return
    bad = ~np.isfinite(z).all(axis=(1, 2))
    if bad.any():
        raise UserError(
            f"the model's answers about {paths[int(bad.argmax())]} are not finite; "
            "set extract_logits.dtype to bfloat16 or float32"
        )
