"""Asking what the store lacks: images in shards, each committed before the next begins."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from makd.conversation import Reader
from makd.errors import UserError
from makd.estimate import SAMPLE_IMAGES, Cost, Estimate, estimate
from makd.files import main_checkout, write_json
from makd.interrupt import after_this_shard, ignore_interrupts
from makd.pictures import UnreadablePicture, load_rgb_of
from makd.progress import progress_bar
from makd.questions import Question
from makd.runtime import Runtime
from makd.scorer import SelfTest
from makd.store import Answers, AnswerStore

TEST_IMAGES = 2
ESTIMATED_IMAGES = 256
"""Fewer are asked without saying first how long it takes."""
LOW_MASS = 0.9
"""Below this share of the next-token probability, yes and no are not what the model wants to say."""

Mask = npt.NDArray[np.bool_]


@runtime_checkable
class Answerer(Protocol):
    """A model that answers a fixed list of questions: the part of `makd.scorer.Scorer` that is needed here."""

    @property
    def reader(self) -> Reader: ...

    @property
    def why_one_by_one(self) -> str | None: ...

    def self_test(self, images: Sequence[Image.Image]) -> SelfTest: ...

    def cost(self, inputs: Any) -> Cost: ...

    def score(self, batch: Sequence[Any]) -> Float[Tensor, "images questions 2"]: ...


@dataclass
class Report:
    """What one run asked, and which images could not be read."""

    asked: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)  # why, by path


class Loaded(NamedTuple):
    """What a worker process sends: the inputs of an image, or why there are none."""

    image_id: str
    inputs: Any = None
    unreadable: str | None = None  # costs itself
    fatal: str | None = None  # says nothing about the image: stops the run


class Pictures(Dataset[Loaded]):
    """Reads and preprocesses pictures in worker processes; a bad one costs itself."""

    def __init__(self, images: pd.Series, reader: Reader) -> None:
        self.image_ids, self.paths = list(images.index), list(images)
        self.reader = reader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Loaded:
        image_id = self.image_ids[index]
        try:
            picture = load_rgb_of(main_checkout() / self.paths[index], image_id)
        except UnreadablePicture as error:
            return Loaded(image_id, unreadable=str(error))
        except UserError as error:  # not there, or no longer the picture of the manifest
            return Loaded(image_id, fatal=str(error))
        try:
            return Loaded(image_id, self.reader.inputs(picture))
        except Exception as error:  # a processor refuses odd pictures with whatever it likes
            reason = f"{type(error).__name__}: {error}"
            return Loaded(image_id, unreadable=f"{self.paths[index]} is refused by the model's processor: {reason}")


def ask_missing(
    store: AnswerStore,
    images: pd.Series,
    questions: list[Question],
    make_scorer: Callable[[list[Question]], Answerer],
    runtime: Runtime,
    *,
    wanted: Mask | None = None,
    ask: bool = True,
) -> Report:
    """Ask every question of `questions` about every image that the store does not know, and commit shard by shard.

    A Ctrl-C ends it after the shard in flight, with KeyboardInterrupt.

    Args:
        store: locked by the caller.
        images: paths relative to the main checkout, by image_id (distinct).
        questions: in rank order.
        make_scorer: loads the model for some of the questions; called once for each set of missing questions.
        runtime: shard size, worker processes, progress bar.
        wanted: which questions are asked about which images; all where it is None.
        ask: False only says what asking would cost.
    """
    report = Report()
    missing = store.missing(list(images.index), [question.id for question in questions])
    if wanted is not None:
        missing &= wanted
    with (
        progress_bar(int(missing.sum()), title="asking", unit="answers", shown=runtime.progress and ask) as bar,
        after_this_shard() as interrupted,
    ):
        for pattern, rows in by_pattern(missing):
            asked = [question for question, lacks in zip(questions, pattern, strict=True) if lacks]
            some = images[rows]
            scorer = make_scorer(asked)
            there_are_images = run_self_test(scorer, some, store)
            if there_are_images and (len(some) >= ESTIMATED_IMAGES or not ask):
                print(
                    f"{len(asked)} questions: {estimate_of(scorer, some).line(len(some), runtime.workers)}", flush=True
                )
            if not ask:
                continue
            for shard in answer_in_shards(scorer, some, runtime, report):
                store.add(shard.image_ids, [question.id for question in asked], shard.answers)
                report.asked += shard.answers.z_yes.size
                bar.set_postfix_str(f"{images_per_second(bar, len(asked)):.3g} images/s", refresh=False)
                bar.update(shard.answers.z_yes.size)
                if interrupted:
                    raise KeyboardInterrupt
    if report.unreadable and len(report.unreadable) == len(images):
        raise UserError(f"none of {len(images)} images can be read: {next(iter(report.unreadable.values()))}")
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
        for _ in shard:
            good = []
            for one in next(loaded):
                if one.fatal is not None:
                    raise UserError(one.fatal)
                if one.unreadable is not None:
                    report.unreadable[images[one.image_id]] = one.unreadable
                else:
                    image_ids.append(one.image_id)
                    good.append(one.inputs)
            if good:
                logits.append(scorer.score(good).numpy())
        if logits:
            z = np.concatenate(logits)
            check_finite(z, [images[image_id] for image_id in image_ids])
            yield Shard(image_ids, Answers(z[..., 0].copy(), z[..., 1].copy()))


def check_finite(z: npt.NDArray[np.float32], paths: list[str]) -> None:
    """An answer that is no number is a fault of the model's arithmetic, and would be asked again in every run."""
    bad = ~np.isfinite(z).all(axis=(1, 2))
    if bad.any():
        raise UserError(
            f"the model's answers about {paths[int(bad.argmax())]} are not finite; "
            "set extract_logits.dtype to bfloat16 or float32"
        )


def chunks(items: Sequence[int], size: int) -> list[Sequence[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def run_self_test(scorer: Answerer, images: pd.Series, store: AnswerStore) -> bool:
    """Refuse to ask anything if the fast way disagrees with the plain one on this model's own prompts.

    What it saw of the first token goes beside the answers, as audit.json. Returns whether there is an image to ask.
    """
    pictures = readable_images(images, TEST_IMAGES)
    if not pictures:  # each is named when its turn comes
        return False
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
    return True


def readable_images(images: pd.Series, n: int) -> list[Image.Image]:
    """The first `n` that can be read."""
    return list(islice((picture for image_id, path in images.items() if (picture := readable(path, image_id))), n))


def estimate_of(scorer: Answerer, images: pd.Series) -> Estimate:
    """What an image costs, measured on a few from all over the list."""
    some = images.iloc[:: max(1, len(images) // SAMPLE_IMAGES)]
    good = [(path, image_id) for image_id, path in some.items() if readable(path, image_id)][:SAMPLE_IMAGES]
    if not good:
        good = [next((path, image_id) for image_id, path in images.items() if readable(path, image_id))]
    return estimate(scorer.score, scorer.cost, [partial(read_inputs, scorer.reader, *one) for one in good])


def read_inputs(reader: Reader, path: str, image_id: str) -> Any:
    return reader.inputs(load_rgb_of(main_checkout() / path, image_id))


def images_per_second(bar: Any, n_questions: int) -> float:
    elapsed = bar.format_dict["elapsed"]
    return float(bar.n / n_questions / elapsed) if elapsed else 0.0


def readable(path: str, image_id: str) -> Image.Image | None:
    """The picture; None where its content is none, which is named when its turn comes."""
    try:
        return load_rgb_of(main_checkout() / path, image_id)
    except UnreadablePicture:
        return None
