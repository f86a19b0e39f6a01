"""Asking by shards, with a fake model that answers by arithmetic and counts what it is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from makd.errors import UserError
from makd.estimate import Cost
from makd.extraction import Report, ask_missing
from makd.loading import Pictures
from makd.pictures import image_id
from makd.questions import Question
from makd.runtime import Runtime
from makd.scorer import SelfTest
from makd.shards import by_pattern
from makd.store import AnswerStore
from makd.wanted import Wanted

QUESTIONS = [Question(text=f"Is it above {level}?") for level in (50, 100, 150)]
IDS = [question.id for question in QUESTIONS]
RUNTIME = Runtime(workers=0, shard_images=4, progress=False)


class FakeReader:
    def inputs(self, image: Image.Image) -> dict[str, torch.Tensor]:
        return {"grey": torch.tensor(float(np.asarray(image).mean()))}


class FakeScorer:
    """z_yes = brightness, z_no = level; `stop_after` images it dies."""

    def __init__(self, questions: list[Question], log: list[tuple[int, int]], stop_after: int) -> None:
        self.levels = torch.tensor([float(question.text.split()[-1][:-1]) for question in questions])
        self.reader, self.log, self.left = FakeReader(), log, stop_after
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

    def make_answerer(some: list[Question]) -> FakeScorer:
        return FakeScorer(some, log, stop_after)

    everything = np.ones(len(images), bool)
    report = ask_missing(store, Wanted(images, questions, [], everything, ~everything), make_answerer, runtime)
    return sum(n_images * n_questions for n_images, n_questions in log), report


def test_every_image_gets_its_own_answers(store: AnswerStore, images: pd.Series) -> None:
    pairs, report = ask(store, images, QUESTIONS)
    assert pairs == report.asked == 30
    found = store.read(list(images.index), IDS)
    np.testing.assert_array_equal(found.z_yes, np.repeat(20.0 * np.arange(10)[:, None], 3, axis=1))
    np.testing.assert_array_equal(found.z_no, np.tile([50.0, 100, 150], (10, 1)))


def test_the_report_has_the_images_and_the_seconds_that_asking_took(
    store: AnswerStore, images: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that only the model moves: two seconds an image of six, twice, for new questions come later."""
    now = [0.0]
    score = FakeScorer.score

    def slow(self: FakeScorer, batch: Sequence[dict[str, torch.Tensor]]) -> torch.Tensor:
        now[0] += 2 * len(batch)
        return score(self, batch)

    monkeypatch.setattr(FakeScorer, "score", slow)
    monkeypatch.setattr("makd.extraction.time.perf_counter", lambda: now[0])
    ask(store, images[:6], QUESTIONS[:2])
    _, report = ask(store, images[:9], QUESTIONS)
    assert (report.images, report.asked, report.seconds) == (9, 6 + 9, 18)


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
    assert store.unreadable() == {images.index[3]}, "by which select_questions knows that nobody can answer"
    assert store.read(list(images.index), IDS).missing.sum() == 3


def test_one_good_image_behind_many_bad_ones_is_tested_and_asked(store: AnswerStore, images: pd.Series) -> None:
    pairs, report = ask(store, spoiled(images, *range(9)), QUESTIONS)
    assert (pairs, len(report.unreadable)) == (3, 9)


def test_a_shard_of_bad_images_only_is_no_shard(store: AnswerStore, images: pd.Series) -> None:
    with pytest.raises(UserError, match="none of 10 images can be read"):
        ask(store, spoiled(images, *range(10)), QUESTIONS)
    assert store.parts() == []


@pytest.mark.parametrize("estimated", [1000, 1])
def test_a_picture_that_the_processor_refuses_costs_itself_also_where_it_is_the_first(
    store: AnswerStore, images: pd.Series, monkeypatch: pytest.MonkeyPatch, estimated: int
) -> None:
    read = FakeReader.inputs

    def fussy(self: FakeReader, image: Image.Image) -> dict[str, torch.Tensor]:
        if np.asarray(image).mean() == 0:
            raise ZeroDivisionError("absolute aspect ratio")
        return read(self, image)

    monkeypatch.setattr(FakeReader, "inputs", fussy)
    monkeypatch.setattr("makd.extraction.ESTIMATED_IMAGES", estimated)
    _, report = ask(store, images, QUESTIONS)
    assert report.asked == 27
    assert list(report.unreadable.values()) == [
        f"{images.iloc[0]} is refused by the model's processor: ZeroDivisionError: absolute aspect ratio"
    ]


def test_the_estimate_too_refuses_a_picture_that_has_changed(store: AnswerStore, images: pd.Series) -> None:
    Path(images.iloc[0]).write_bytes(b"changed")
    every = np.ones(len(images), bool)
    wanted = Wanted(images, QUESTIONS, [], every, ~every)
    with pytest.raises(UserError, match="has changed since the manifest"):
        ask_missing(store, wanted, lambda some: FakeScorer(some, [], 10**6), RUNTIME, really=False)


def test_a_picture_that_changes_stops_the_run_and_keeps_the_batches_before_it(
    store: AnswerStore, images: pd.Series
) -> None:
    Path(images.iloc[7]).write_bytes(b"changed")
    every = np.ones(len(images), bool)
    wanted = Wanted(images, QUESTIONS, [], every, ~every)
    in_pairs = RUNTIME.model_copy(update={"batch_images": 2})
    with pytest.raises(UserError, match="has changed since the manifest"):
        ask_missing(store, wanted, lambda some: FakeScorer(some, [], 10**6), in_pairs)
    assert store.missing(list(images.index), IDS)[:, 0].tolist() == [False] * 6 + [True] * 4


def test_the_estimate_keeps_nothing(store: AnswerStore, images: pd.Series, capsys: pytest.CaptureFixture[str]) -> None:
    every = np.ones(len(images), bool)
    log: list[tuple[int, int]] = []
    wanted = Wanted(images, QUESTIONS, [], every, ~every)
    report = ask_missing(store, wanted, lambda some: FakeScorer(some, log, 10**6), RUNTIME, really=False)
    assert (report.asked, store.parts()) == (0, [])
    assert "3 questions: 10 tokens and 1e+03 FLOP an image" in capsys.readouterr().out
    assert log == [(4, 3)], "a few images for the clock"


def test_an_answer_that_is_no_number_stops_the_run_and_names_the_picture(
    store: AnswerStore, images: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = FakeScorer.score

    def overflowing(self: FakeScorer, batch: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        found = score(self, batch)
        return found.masked_fill(found == 120, float("inf"))  # the seventh picture

    monkeypatch.setattr(FakeScorer, "score", overflowing)
    with pytest.raises(UserError, match=r"6\.png are not finite; set extract_logits.dtype"):
        ask(store, images, QUESTIONS)
    assert len(store.parts()) == 1, "the shard before it"


def test_what_the_self_test_saw_is_kept_and_little_mass_is_warned_of(
    store: AnswerStore, images: pd.Series, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(store, images[:2], QUESTIONS)
    assert "warning" not in capsys.readouterr().out
    seen = SelfTest(1e-7, 6, 0.4, 0.1, {"The": 5, "A": 1})
    self_test = FakeScorer.self_test
    monkeypatch.setattr(FakeScorer, "self_test", lambda self, images: (self_test(self, images), seen)[1])
    ask(store, images, QUESTIONS)
    assert "warning: over 6 questions the model would rather begin with 'The' (5), 'A' (1)" in capsys.readouterr().out
    audit = json.loads((store.folder / "audit.json").read_text())
    assert (audit["mass"], audit["least_mass"], audit["pairs"], audit["difference"]) == (0.4, 0.1, 6, 1e-7)


def refuse(self: FakeReader, image: Image.Image) -> dict[str, torch.Tensor]:
    raise ValueError("size -5")


@pytest.mark.parametrize("really", [True, False])
def test_a_processor_that_refuses_all_pictures_stops_the_run_after_a_few(
    store: AnswerStore, images: pd.Series, monkeypatch: pytest.MonkeyPatch, really: bool
) -> None:
    monkeypatch.setattr(FakeReader, "inputs", refuse)
    monkeypatch.setattr("makd.trial.REFUSALS", 3)
    every = np.ones(len(images), bool)
    wanted = Wanted(images, QUESTIONS, [], every, ~every)
    with pytest.raises(UserError, match=r"the first 3 pictures are all refused: .*size -5; change extract_logits"):
        ask_missing(store, wanted, lambda some: FakeScorer(some, [], 0), RUNTIME, really=really)


def test_pictures_that_were_refused_before_do_not_stop_a_later_run(
    store: AnswerStore, images: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, images[:1], QUESTIONS)
    monkeypatch.setattr(FakeReader, "inputs", refuse)
    monkeypatch.setattr("makd.trial.REFUSALS", 3)
    with pytest.raises(UserError, match="none of 9 images can be read"):
        ask(store, images[1:], QUESTIONS)


def test_an_estimate_without_a_picture_says_why(
    store: AnswerStore, images: pd.Series, capsys: pytest.CaptureFixture[str]
) -> None:
    every, bad = np.ones(len(images), bool), spoiled(images, *range(10))
    wanted = Wanted(bad, QUESTIONS, [], every, ~every)
    ask_missing(store, wanted, lambda some: FakeScorer(some, [], 0), RUNTIME, really=False)
    assert "no image to try: " in capsys.readouterr().out


def test_pictures_that_were_read_stay_where_they_were_read(images: pd.Series) -> None:
    one = Pictures(images, FakeReader())[0]
    assert one.inputs is not None
    assert one.picture is None, "full pictures would go through the pipes of the worker processes"
