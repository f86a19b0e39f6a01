"""Asking what the store lacks: images in shards, each committed before the next begins."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from makd.conversation import Reader
from makd.errors import UserError
from makd.estimate import Cost, Estimate
from makd.files import write_json
from makd.interrupt import after_this, ignore_interrupts
from makd.loading import Pictures, good_ones, load
from makd.progress import progress_bar
from makd.questions import Question
from makd.runtime import Runtime
from makd.scorer import SelfTest
from makd.store import Answers, AnswerStore
from makd.wanted import Mask, Wanted

TEST_IMAGES = 2
SAMPLE_IMAGES = 4
ESTIMATED_IMAGES = 256
"""Fewer are asked without saying first how long it takes."""
REFUSALS = 64
"""Pictures that a processor may refuse, one after the other, before it is taken to refuse all."""
LOW_MASS = 0.9
"""Below this share of the next-token probability, yes and no are not what the model wants to say."""


@runtime_checkable
class Answerer(Protocol):
    """A model that answers a fixed list of questions: the part of `makd.scorer.Scorer` that is needed here."""

    @property
    def reader(self) -> Reader: ...

    @property
    def why_one_by_one(self) -> str | None: ...

    def self_test(self, images: Sequence[Image.Image]) -> SelfTest: ...

    def cost(self, inputs: Any) -> Cost: ...

    def score(self, batch: Sequence[Any]) -> Float[Tensor, "images questions channels"]:
        """z_yes and z_no; or these, NaN where not told, and the bounds of P(yes): all NaN where nothing was answered.

        Raises:
            UserError: nothing more can be answered; what was answered before is kept.
        """
        ...


@runtime_checkable
class Metered(Protocol):
    """An answerer elsewhere: what it asks costs money or another machine's time, so it is not asked for an estimate."""

    def estimate(self, images: int) -> str: ...


@dataclass
class Report:
    """What one run asked and how long that took, and which images could not be read."""

    asked: int = 0
    images: int = 0  # of which a shard was committed; once for each set of questions that was asked
    seconds: float = 0.0  # of reading, answering and committing
    unreadable: dict[str, str] = field(default_factory=dict)  # why, by path


def ask_missing(
    store: AnswerStore,
    wanted: Wanted,
    make_scorer: Callable[[list[Question]], Answerer],
    runtime: Runtime,
    *,
    really: bool = True,
) -> Report:
    """Ask what is wanted and the store lacks, and commit shard by shard.

    Args:
        store: locked by the caller.
        wanted: images and questions.
        make_scorer: of some of the questions; called once for each set of missing questions.
        runtime: shard and batch size, worker processes, progress bar.
        really: False only says what asking would cost.

    Raises:
        UserError: a picture that is gone or has changed, a failed self-test, not one picture that can be read.
        KeyboardInterrupt: after the shard in flight.
    """
    report = Report()
    store.write_provenance()
    missing = wanted.missing(store)
    with progress_bar(int(missing.sum()), title="asking", unit="answers", shown=runtime.progress and really) as bar:
        for pattern, rows in by_pattern(missing):
            asked = [question for question, lacks in zip(wanted.questions, pattern, strict=True) if lacks]
            some = wanted.images[rows]
            scorer = make_scorer(asked)
            run_self_test(scorer, some, store)
            if len(some) >= ESTIMATED_IMAGES or not really or isinstance(scorer, Metered):
                print_estimate(scorer, some, len(asked), runtime.workers)
            if not really:
                continue
            start, before = time.perf_counter(), report.images
            with after_this("shard") as interrupted:
                for shard in answer_in_shards(scorer, some, runtime, report):
                    store.add(shard.image_ids, [question.id for question in asked], shard.answers)
                    report.asked += int((~shard.answers.missing).sum())
                    report.images += len(shard.image_ids)
                    rate = (report.images - before) / (time.perf_counter() - start)
                    bar.set_postfix_str(f"{rate:.3g} images/s", refresh=False)
                    bar.update(shard.answers.z_yes.size)
                    if interrupted.is_set():
                        raise KeyboardInterrupt
            report.seconds += time.perf_counter() - start
    store.note_unreadable(list(wanted.images.index[wanted.images.isin(report.unreadable)]))
    if report.unreadable and len(report.unreadable) == len(wanted.images):
        raise UserError(f"none of {len(wanted.images)} images can be read: {next(iter(report.unreadable.values()))}")
    return report


def by_pattern(missing: Mask) -> Iterator[tuple[Mask, Mask]]:
    """Rows that lack the same questions, together: (which questions, which rows)."""
    bits = np.packbits(missing, axis=1)  # a million rows of a hundred booleans take NumPy forty seconds
    _, first, group = np.unique(bits.view(f"V{bits.shape[1]}").ravel(), return_index=True, return_inverse=True)
    for index, pattern in enumerate(missing[first]):
        if pattern.any():
            yield pattern, group == index


@dataclass(frozen=True)
class Shard:
    """The answers for some images, whole."""

    image_ids: list[str]
    answers: Answers


def answer_in_shards(scorer: Answerer, images: pd.Series, runtime: Runtime, report: Report) -> Iterator[Shard]:
    """Shards of `runtime.shard_images` images, in their order.

    A batch never crosses a shard: one that was lost is asked again in the same batches, and gives the same bits.
    """
    shards = chunks(range(len(images)), runtime.shard_images)
    batches = [chunks(shard, runtime.batch_images) for shard in shards]
    loader = DataLoader(
        Pictures(images, scorer.reader),
        batch_sampler=[list(batch) for shard in batches for batch in shard],
        num_workers=min(runtime.workers, len(images) // runtime.batch_images),
        collate_fn=list,
        worker_init_fn=ignore_interrupts,
    )
    loaded = iter(loader)
    for shard in batches:
        image_ids: list[str] = []
        logits = []
        stopped: UserError | None = None
        for _ in shard:
            good, ids = [], []
            for one in next(loaded):
                if one.fatal is not None:
                    raise UserError(one.fatal)
                if one.unreadable is not None:
                    report.unreadable[images[one.image_id]] = one.unreadable
                else:
                    ids.append(one.image_id)
                    good.append(one.inputs)
            if good:
                try:
                    logits.append(scorer.score(good).numpy())
                except UserError as error:  # of a server: what it has answered so far is kept
                    stopped = error
                    break
                image_ids += ids
        if logits:
            z = np.concatenate(logits)
            check_finite(z, [images[image_id] for image_id in image_ids])
            yield Shard(image_ids, Answers.of(z))
        if stopped is not None:
            raise stopped


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


def chunks(items: Sequence[int], size: int) -> list[Sequence[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def run_self_test(scorer: Answerer, images: pd.Series, store: AnswerStore) -> None:
    """Refuse to ask anything if the fast way disagrees with the plain one on this model's own prompts.

    What it saw of the first token goes beside the answers, as audit.json.
    """
    # With answers in the store, all that is left may be a few pictures that are refused each time
    patience = None if store.parts() else REFUSALS
    pictures = [one.picture for one in islice(good_ones(images, scorer.reader, patience), TEST_IMAGES)]
    if not pictures:  # nothing will be asked
        return
    if scorer.why_one_by_one is not None:
        print(f"one forward pass a question: {scorer.why_one_by_one}", flush=True)
    result = scorer.self_test(pictures)
    write_json(asdict(result), store.folder / "audit.json")
    print(
        f"self-test: max |dq| {result.difference:.1g}, yes and no hold {result.mass:.1%} of the first token", flush=True
    )
    if result.mass < LOW_MASS:
        tokens = ", ".join(f"{token!r} ({count})" for token, count in result.top_tokens.items())
        print(
            f"warning: over {result.pairs} questions the model would rather begin with {tokens}; "
            "are prompt and template right?",
            flush=True,
        )


def print_estimate(scorer: Answerer, images: pd.Series, n_questions: int, workers: int) -> None:
    """Say what asking will cost, from a few images all over the list."""
    if isinstance(scorer, Metered):
        print(f"{n_questions} questions: {scorer.estimate(len(images))}", flush=True)
        return
    spread = images.iloc[:: max(1, len(images) // SAMPLE_IMAGES)]
    start = time.perf_counter()
    sample = [one.inputs for one in islice(good_ones(spread, scorer.reader), SAMPLE_IMAGES)]
    if not sample:
        print(f"no image to try: {load(spread.iloc[0], spread.index[0], scorer.reader).unreadable}", flush=True)
        return
    reading = (time.perf_counter() - start) / len(sample)
    cost = scorer.cost(sample[0])  # also warms up
    start = time.perf_counter()
    scorer.score(sample)
    expected = Estimate(cost, (time.perf_counter() - start) / len(sample), reading)
    print(f"{n_questions} questions: {expected.line(len(images), workers)}", flush=True)
