"""Asking by shards, with a fake model that answers by arithmetic and counts what it is asked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from makd.errors import UserError
from makd.estimate import Cost
from makd.extraction import Report, ask_missing, by_pattern
from makd.pictures import image_id
from makd.questions import Question
from makd.runtime import Runtime
from makd.scorer import SelfTest
from makd.store import AnswerStore

QUESTIONS = [Question(text=f"Is it above {level}?") for level in (50, 100, 150)]
IDS = [question.id for question in QUESTIONS]
RUNTIME = Runtime(workers=0, shard_images=4, progress=False)


class FakeConversation:
    def inputs(self, image: Image.Image) -> dict[str, torch.Tensor]:
        return {"grey": torch.tensor(float(np.asarray(image).mean()))}


class FakeScorer:
    """z_yes = brightness, z_no = level; `stop_after` images it dies."""

    def __init__(self, questions: list[Question], log: list[tuple[int, int]], stop_after: int) -> None:
        self.levels = torch.tensor([float(question.text.split()[-1][:-1]) for question in questions])
        self.reader, self.log, self.left = FakeConversation(), log, stop_after
        self.tested = False
        self.why_one_by_one = None

    def self_test(self, images: Sequence[Image.Image]) -> SelfTest:
        self.tested = True
        return SelfTest(0.0, 2, 1.0, 1.0, {"Yes": 2})

    def cost(self, inputs: dict[str, torch.Tensor]) -> Cost:
        return Cost(tokens=10, flops=1000)

    def score(self, batch: Sequence[dict[str, torch.Tensor]]) -> torch.Tensor:
        assert self.tested, "the self-test comes first: it prepares the real scorer"
        self.left -= len(batch)
        if self.left < 0:
            raise KeyboardInterrupt
        self.log.append((len(batch), len(self.levels)))
        grey = torch.stack([inputs["grey"] for inputs in batch])[:, None].expand(-1, len(self.levels))
        return torch.stack([grey, self.levels.expand_as(grey)], dim=-1)


@pytest.fixture
def images(tmp_path: Path) -> pd.Series:
    paths = {}
    for k in range(10):
        Image.new("RGB", (8, 8), (20 * k,) * 3).save(tmp_path / f"{k}.png")
        path = tmp_path / f"{k}.png"
        paths[image_id(path.read_bytes())] = path.as_posix()
    return pd.Series(paths)


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers", {})


def spoiled(images: pd.Series, *places: int) -> pd.Series:
    """The same files with no picture in some of them, which the ids know."""
    for place in places:
        Path(images.iloc[place]).write_bytes(b"no picture %d" % place)
    return pd.Series({image_id(Path(path).read_bytes()): path for path in images})


def ask(
    store: AnswerStore,
    images: pd.Series,
    questions: list[Question],
    stop_after: int = 10**6,
    runtime: Runtime = RUNTIME,
) -> tuple[int, Report]:
    """How many (image, question) pairs the model was asked, and the report."""
    log: list[tuple[int, int]] = []

    def make_scorer(some: list[Question]) -> FakeScorer:
        return FakeScorer(some, log, stop_after)

    report = ask_missing(store, images, questions, make_scorer, runtime)
    return sum(n_images * n_questions for n_images, n_questions in log), report


def test_every_image_gets_its_own_answers(store: AnswerStore, images: pd.Series) -> None:
    pairs, report = ask(store, images, QUESTIONS)
    assert pairs == report.asked == 30
    found = store.read(list(images.index), IDS)
    np.testing.assert_array_equal(found.z_yes, np.repeat(20.0 * np.arange(10)[:, None], 3, axis=1))
    np.testing.assert_array_equal(found.z_no, np.tile([50.0, 100, 150], (10, 1)))


def test_worker_processes_find_the_same(store: AnswerStore, images: pd.Series, tmp_path: Path) -> None:
    ask(store, images, QUESTIONS)
    other = AnswerStore(tmp_path / "other", {})
    more = {}
    for k in range(30):
        path = tmp_path / f"more{k}.png"
        Image.new("RGB", (8, 8), (k, 1, 0)).save(path)
        more[image_id(path.read_bytes())] = path.as_posix()
    many = pd.concat([images, pd.Series(more)])
    assert len(many) >= 2 * Runtime().batch_images
    ask(other, many, QUESTIONS, runtime=RUNTIME.model_copy(update={"workers": 2, "shard_images": 20}))
    np.testing.assert_array_equal(other.read(list(images.index), IDS).z_yes, store.read(list(images.index), IDS).z_yes)


def test_nothing_is_asked_twice(store: AnswerStore, images: pd.Series) -> None:
    ask(store, images, QUESTIONS)
    assert ask(store, images, QUESTIONS)[0] == 0


def test_new_questions_and_new_images_cost_only_themselves(store: AnswerStore, images: pd.Series) -> None:
    assert ask(store, images[:6], QUESTIONS[:2])[0] == 12
    assert ask(store, images[:6], QUESTIONS)[0] == 6
    assert ask(store, images, QUESTIONS)[0] == 12


@pytest.mark.parametrize("n_questions", [1, 8, 11])
def test_rows_that_lack_the_same_are_asked_together(n_questions: int) -> None:
    missing = np.random.default_rng(0).random((200, n_questions)) < 0.1
    missing[:50] = True
    patterns, group = np.unique(missing, axis=0, return_inverse=True)
    expected = [(pattern, group == k) for k, pattern in enumerate(patterns) if pattern.any()]
    for (pattern, rows), (other_pattern, other_rows) in zip(by_pattern(missing), expected, strict=True):
        np.testing.assert_array_equal(pattern, other_pattern)
        np.testing.assert_array_equal(rows, other_rows)


def test_a_stop_loses_the_shard_in_flight_and_no_more(store: AnswerStore, images: pd.Series) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(store, images, QUESTIONS, stop_after=7)  # dies in the second shard of four
    assert len(store.parts()) == 1
    assert ask(store, images, QUESTIONS)[0] == 18  # six images are left


def test_a_bad_image_costs_itself_and_is_named(store: AnswerStore, images: pd.Series) -> None:
    images = spoiled(images, 3)
    pairs, report = ask(store, images, QUESTIONS)
    assert pairs == 27
    assert list(report.unreadable) == [images.iloc[3]]
    assert store.read(list(images.index), IDS).missing.sum() == 3


def test_one_good_image_behind_many_bad_ones_is_tested_and_asked(store: AnswerStore, images: pd.Series) -> None:
    pairs, report = ask(store, spoiled(images, *range(9)), QUESTIONS)
    assert (pairs, len(report.unreadable)) == (3, 9)


def test_a_shard_of_bad_images_only_is_no_shard(store: AnswerStore, images: pd.Series) -> None:
    with pytest.raises(UserError, match="none of 10 images can be read"):
        ask(store, spoiled(images, *range(10)), QUESTIONS)
    assert store.parts() == []
