import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from makd.answers import Answers
from makd.errors import UserError
from makd.extraction_speed import Speed, keep_speed, kept_speed
from makd.store import AnswerStore
from makd.store_parts import parts_of, write_part
from makd.store_upkeep import (
    Contents,
    compact,
    contents,
    garbage,
    keys,
    problems,
    remove_store,
    unused_days,
)
from tests.lock_holder import holding

N = 12
IDS = [f"image{k}" for k in range(N)]
Z = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
QUESTIONS = ["p", "q", "r"]


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    """Answers in seven parts: the first six images have been asked two questions, and a third one later."""
    store = AnswerStore(tmp_path / "answers", {"weights": "abc"})
    for k in range(0, 6, 2):
        store.add(IDS[k : k + 2], QUESTIONS[:2], Answers(Z[k : k + 2, :2], -Z[k : k + 2, :2]))
    store.add(IDS[:6], QUESTIONS[2:], Answers(Z[:6, 2:], -Z[:6, 2:]))
    for k in range(6, N, 2):
        store.add(IDS[k : k + 2], QUESTIONS, Answers(Z[k : k + 2], -Z[k : k + 2]))
    return store


def root(store: AnswerStore) -> Path:
    return store.folder.parent


def assert_all_answers(store: AnswerStore) -> None:
    found = store.read(IDS, QUESTIONS)
    np.testing.assert_array_equal(found.z_yes, Z)
    np.testing.assert_array_equal(found.z_no, -Z)


def test_the_contents_are_counted_once(store: AnswerStore) -> None:
    store.add(IDS[:1], QUESTIONS, Answers(Z[:1], -Z[:1]))
    found = contents(store.folder)
    size = sum(part.stat().st_size for part in store.parts())
    assert found == Contents(8, N, 3, N * 3, size, found.written)
    assert found.written == pytest.approx(time.time(), abs=60)


def test_an_empty_store_has_no_contents(tmp_path: Path) -> None:
    (tmp_path / "0123456789abcdef").mkdir()
    assert keys(tmp_path) == ["0123456789abcdef"]
    assert contents(tmp_path / "0123456789abcdef") == Contents(0, 0, 0, 0, 0, None)
    assert list(problems(tmp_path)) == []


# compaction


def test_compaction_keeps_every_answer(store: AnswerStore) -> None:
    assert compact(root(store), store.key) == (7, 1)
    assert_all_answers(store)
    assert list(problems(root(store))) == []
    assert contents(store.folder).answers == N * 3


def test_compacted_parts_are_of_a_size_and_left_alone(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.answer_reader.BLOCK_IMAGES", 5)
    assert compact(root(store), store.key) == (7, 3)
    before = store.parts()
    assert compact(root(store), store.key) == (3, 3)
    assert store.parts() == before
    assert_all_answers(store)


def test_of_answers_that_differ_compaction_keeps_those_that_hold(store: AnswerStore) -> None:
    store.add(IDS[:1], ["q"], Answers(np.full((1, 1), 7, np.float32), np.full((1, 1), -7, np.float32)))
    compact(root(store), store.key)
    assert store.read(IDS[:1], QUESTIONS).z_yes[0].tolist() == [Z[0, 0], 7, Z[0, 2]]


class Killed(BaseException):
    """In the place of a kill: no handler of errors catches it."""


def test_compaction_may_die_at_every_point(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It dies before the first, the second, ... change to the folder, until it gets through."""
    monkeypatch.setattr("makd.answer_reader.BLOCK_IMAGES", 5)
    deaths = 0
    while True:
        with monkeypatch.context() as patch:
            dies_after(deaths, patch)
            try:
                compact(root(store), store.key)
                break
            except Killed:
                deaths += 1
        assert_all_answers(store)
        assert list(problems(root(store))) == []
    assert deaths > 10
    assert len(store.parts()) == 3
    assert_all_answers(store)


def dies_after(n_changes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise `Killed` in the place of all further renamings and removals of files, also those that tidy up."""
    left = iter(range(n_changes))

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def count(*args: Any, **kwargs: Any) -> None:
            if next(left, None) is None:
                raise Killed
            change(*args, **kwargs)

        return count

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


def test_a_damaged_part_stops_compaction_and_nothing_goes(store: AnswerStore) -> None:
    parts = store.parts()
    damage(parts[2])
    with pytest.raises(UserError, match=f"{parts[2].name} is damaged"):
        compact(root(store), store.key)
    assert store.parts() == parts


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def test_nothing_is_compacted_while_answers_are_written(store: AnswerStore) -> None:
    with holding(store, "lock"), pytest.raises(UserError, match=r"is in use .* try again"):
        compact(root(store), store.key)
    assert len(store.parts()) == 7


# verification


def test_a_whole_store_has_no_problems(store: AnswerStore) -> None:
    with store.lock(), store.in_use():
        assert list(problems(root(store))) == []


def test_what_is_noted_beside_the_answers_is_no_problem_and_outlives_compaction(store: AnswerStore) -> None:
    keep_speed(store.folder, Speed("a GPU", 12, 36, 1.0))
    store.note_unreadable(["image99"])
    assert list(problems(root(store))) == []
    compact(root(store), store.key)
    assert kept_speed(store.folder) == Speed("a GPU", 12, 36, 1.0)
    assert store.unreadable() == {"image99"}
    assert removed(store, set()) == []
    assert removed(store, {store.key}) == [store.key]


def break_part(store: AnswerStore) -> None:
    damage(store.parts()[0])


def add_infinity(store: AnswerStore) -> None:
    z = np.array([[np.inf]], np.float32)
    write_part(store.folder / "part-000009-abcdefab.parquet", ["a"], ["p"], z, z)


def add_half_an_answer(store: AnswerStore) -> None:
    z = np.array([[np.nan]], np.float32)
    write_part(store.folder / "part-000009-abcdefab.parquet", ["a"], ["p"], z, np.zeros((1, 1), np.float32))


def add_an_image_twice(store: AnswerStore) -> None:
    z = np.zeros((2, 1), np.float32)
    write_part(store.folder / "part-000009-abcdefab.parquet", ["a", "a"], ["p"], z, z)


def edit_provenance(store: AnswerStore) -> None:
    (store.folder / "provenance.json").write_text(json.dumps({"weights": "other"}))


def break_provenance(store: AnswerStore) -> None:
    (store.folder / "provenance.json").write_text("{")


def lose_provenance(store: AnswerStore) -> None:
    (store.folder / "provenance.json").unlink()


def add_a_foreign_table(store: AnswerStore) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(store.folder / "part-000009-abcdefab.parquet")


def add_a_foreign_file(store: AnswerStore) -> None:
    (store.folder / "notes.txt").touch()


def add_a_foreign_folder(store: AnswerStore) -> None:
    (root(store) / "notes").mkdir()


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (break_part, r"part-000000-\w+.parquet is damaged .*; delete it: only its own answers are asked again"),
        (add_infinity, r"part-000009-abcdefab.parquet: infinite logits; delete it"),
        (add_half_an_answer, r"answers of which one logit is missing; delete it"),
        (add_an_image_twice, r"an image twice; delete it"),
        (edit_provenance, r"provenance.json hashes to \w+, and its folder's name is \w+; undo the edit"),
        (break_provenance, r"provenance.json is damaged .*; delete it"),
        (lose_provenance, r"provenance.json is missing: the next extraction"),
        (add_a_foreign_table, r"part-000009-abcdefab.parquet is no part of an answer store: .*; move it away"),
        (add_a_foreign_file, r"notes.txt is no file of an answer store; move it away"),
        (add_a_foreign_folder, r"notes is no answer store; move it away"),
    ],
)
def test_every_bad_file_is_named_with_what_to_do(
    store: AnswerStore, harm: Callable[[AnswerStore], None], expected: str
) -> None:
    harm(store)
    (found,) = problems(root(store))
    assert re.search(expected, found)
    assert "\n" not in found


# what can go


def removed(store: AnswerStore, unwanted: set[str]) -> list[str]:
    names = []
    for path, remove in garbage(root(store), unwanted):
        remove()
        assert not path.exists()
        names.append(path.name)
    return names


@pytest.fixture
def temporary(store: AnswerStore) -> Path:
    """What a killed process has left."""
    path = store.folder / f".part-000007-abcdefab.parquet.{'0' * 32}"
    path.write_bytes(b"half")
    return path


def test_without_unwanted_keys_only_leftovers_go(store: AnswerStore, temporary: Path) -> None:
    half_removed = root(store) / f".{'0' * 16}.{'1' * 32}"
    half_removed.mkdir()
    assert removed(store, set()) == [half_removed.name, temporary.name]
    assert_all_answers(store)
    assert removed(store, set()) == []


def test_an_unwanted_key_goes_whole_and_the_others_stay(store: AnswerStore, temporary: Path) -> None:
    other = AnswerStore(root(store), {"weights": "def"})
    other.add(["a"], ["p"], Answers(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)))
    assert removed(store, {store.key}) == [store.key]
    assert keys(root(store)) == [other.key]
    assert not other.read(["a"], ["p"]).missing.any()


def test_nothing_goes_while_answers_are_written(store: AnswerStore, temporary: Path) -> None:
    with holding(store, "lock"):
        for unwanted in (set(), {store.key}):
            with pytest.raises(UserError, match="is in use"):
                removed(store, unwanted)
    assert temporary.exists()
    assert_all_answers(store)


def test_a_removal_that_is_killed_is_finished_by_the_next(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: None)
        remove_store(store.folder)
    assert keys(root(store)) == []
    assert store.read(IDS, QUESTIONS).missing.all()
    removed(store, set())
    assert list(root(store).iterdir()) == []


def test_what_is_read_or_written_is_not_unused(store: AnswerStore) -> None:
    for path in (store.folder / "provenance.json", *store.parts()):
        os.utime(path, (time.time() - 10 * 86_400,) * 2)
    assert unused_days(store.folder) == pytest.approx(10, abs=0.1)
    with store.in_use():
        pass
    assert unused_days(store.folder) == pytest.approx(0, abs=0.1)


def test_the_end_of_a_compaction_is_on_the_disk(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.answer_reader.BLOCK_IMAGES", 5)
    log: list[list[Path]] = []
    monkeypatch.setattr("makd.store_upkeep.sync_folder", lambda folder: log.append(parts_of(folder)))
    compact(root(store), store.key)
    assert log == [store.parts()]


@pytest.mark.parametrize(("p_lo", "said"), [(0.5, None), (0.9, "bounds of P"), (-0.1, "bounds"), (np.nan, "one logit")])
def test_bounds_are_verified(tmp_path: Path, p_lo: float, said: str | None) -> None:
    store = AnswerStore(tmp_path, {})
    values = (1.0, np.nan, p_lo, np.nan if np.isnan(p_lo) else 0.8), (1.0, 2.0, np.nan, np.nan), (1.0, np.nan, 0.1, 0.2)
    store.add(["a", "b", "c"], ["q"], Answers.of(np.array(values, np.float32)[:, None]))
    found = list(problems(tmp_path))
    assert (not found) if said is None else (said in found[0])
