import errno
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from makd.answers import Answers
from makd.errors import UserError
from makd.store import AnswerStore, store_key
from makd.store_parts import part_number
from makd.store_upkeep import problems, remove_store, unused_days
from tests.lock_holder import holding
from tests.made_up_answers import answers

PROVENANCE = {"weights": "abc", "prompt": "$question"}


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path, PROVENANCE)


def test_what_was_added_is_read_in_any_order(store: AnswerStore) -> None:
    store.add(["a", "b"], ["p", "q", "r"], answers([1, 2, 3], [4, 5, 6]))
    found = store.read(["b", "a"], ["r", "p"])
    np.testing.assert_array_equal(found.z_yes, [[6, 4], [3, 1]])
    np.testing.assert_array_equal(found.z_no, [[-6, -4], [-3, -1]])


def test_what_is_unknown_is_missing(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    np.testing.assert_array_equal(store.read(["a", "b"], ["p", "q"]).missing, [[False, True], [True, True]])


def test_parts_fill_each_other_up(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    store.add(["b"], ["p"], answers([2]))
    store.add(["a", "b"], ["q"], answers([3], [4]))
    np.testing.assert_array_equal(store.read(["a", "b"], ["p", "q"]).z_yes, [[1, 3], [2, 4]])
    assert len(store.parts()) == 3


def test_a_missing_answer_does_not_hide_a_known_one(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    store.add(["a"], ["p"], answers([np.nan]))
    assert store.read(["a"], ["p"]).z_yes[0, 0] == 1


@pytest.mark.parametrize("key", ["weights", "prompt"])
def test_anything_that_determines_a_number_is_in_the_key(key: str) -> None:
    assert store_key(PROVENANCE | {key: "other"}) != store_key(PROVENANCE)
    assert store_key(dict(reversed(PROVENANCE.items()))) == store_key(PROVENANCE)


def test_a_store_says_what_its_key_stands_for(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    assert json.loads((store.folder / "provenance.json").read_text()) == PROVENANCE


def test_another_scorer_sees_nothing(store: AnswerStore, tmp_path: Path) -> None:
    store.add(["a"], ["p"], answers([1]))
    assert AnswerStore(tmp_path, PROVENANCE | {"weights": "def"}).read(["a"], ["p"]).missing.all()


@pytest.mark.parametrize(
    "bad",
    [answers([np.inf]), answers([1, 2]), Answers(np.ones((1, 1), np.float32), np.full((1, 1), -np.inf, np.float32))],
)
def test_nonsense_is_not_stored(store: AnswerStore, bad: Answers) -> None:
    with pytest.raises(ValueError, match=r"infinite|shape"):
        store.add(["a"], ["p"], bad)
    assert not store.parts()


def test_a_half_written_part_is_no_part(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    part = store.parts()[0]
    (part.parent / f".{part.name}.left-by-a-kill").write_bytes(part.read_bytes()[:100])
    assert store.parts() == [part]


def test_what_is_missing_is_known_without_the_logits(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    np.testing.assert_array_equal(store.missing(["a", "b"], ["p", "q"]), [[False, True], [True, True]])


def test_the_last_part_holds_also_after_the_millionth(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    store.parts()[0].rename(store.folder / "part-999999-ffffffff.parquet")
    store.add(["a"], ["p"], answers([2]))
    assert [part_number(part) for part in store.parts()] == [999_999, 1_000_000]
    assert store.read(["a"], ["p"]).z_yes[0, 0] == 2


def test_a_damaged_part_is_named(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    part = store.parts()[0]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{part.name} is damaged"):
        store.read(["a"], ["p"])


def test_one_process_at_a_time_asks(store: AnswerStore, capsys: pytest.CaptureFixture[str]) -> None:
    with holding(store, "lock", seconds=0.5) as other:
        start = time.monotonic()
        with store.lock():
            assert time.monotonic() - start > 0.3
        assert f"(process {other.pid})" in capsys.readouterr().out


def test_a_killed_process_leaves_no_lock(store: AnswerStore) -> None:
    with holding(store, "lock") as other:
        with pytest.raises(UserError, match=rf"is in use \(process {other.pid}\); try again"), store.lock(wait=False):
            pass
        other.kill()
        other.wait()
        with store.lock(wait=False):
            pass


def test_what_is_in_use_is_not_removed_and_its_use_is_noted(store: AnswerStore, tmp_path: Path) -> None:
    store.add(["a"], ["p"], answers([1]))
    for path in (store.folder / "provenance.json", *store.parts()):
        os.utime(path, (0, 0))
    assert unused_days(store.folder) > 365
    with holding(store, "in_use"), store.in_use():  # many may use it
        assert unused_days(store.folder) < 1
    with holding(store, "in_use"), pytest.raises(UserError, match="is in use"):
        remove_store(store.folder)
    remove_store(store.folder)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_or_damaged_description_is_written_again_and_that_of_another_key_refused(store: AnswerStore) -> None:
    path = store.folder / "provenance.json"
    store.write_provenance()
    for broken in ("", "{", "[]"):
        path.write_text(broken)
        store.write_provenance()
        assert json.loads(path.read_text()) == PROVENANCE
    path.write_text(json.dumps(PROVENANCE | {"weights": "other"}))
    with pytest.raises(UserError, match="undo the edit or the renaming, or delete the folder"):
        store.write_provenance()


def test_what_could_not_be_read_is_remembered_beside_the_answers(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    assert store.unreadable() == set()
    store.note_unreadable([])
    assert not (store.folder / "unreadable.json").exists()
    store.note_unreadable(["c"])
    store.note_unreadable(["b", "c"])
    assert store.unreadable() == {"b", "c"}
    assert list(problems(store.folder.parent)) == []
    assert store.read(["a", "b"], ["p"]).missing.tolist() == [[False], [True]]


def test_under_the_lock_the_parts_are_listed_once(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(["a"], ["q"], answers([1.0]))
    listed: list[AnswerStore] = []
    after_the_last = AnswerStore.after_the_last

    def noted(self: AnswerStore) -> int:
        listed.append(self)
        return after_the_last(self)

    monkeypatch.setattr(AnswerStore, "after_the_last", noted)
    with store.lock():
        for image in "bcd":
            store.add([image], ["q"], answers([2.0]))
    assert len(listed) == 1
    assert [part_number(path) for path in store.parts()] == [0, 1, 2, 3]
    store.add(["a"], ["q"], answers([3.0]))
    assert part_number(store.parts()[-1]) == 4, "another process may have written meanwhile"


def test_other_places_are_free_and_the_same_are_not(store: AnswerStore) -> None:
    with holding(store, "lock", places=(0, 10)):
        with store.lock(range(10, 20), wait=False):
            pass
        for places in (range(9, 20), None):
            with pytest.raises(UserError, match="is in use"), store.lock(places, wait=False):
                pass


def test_a_file_system_without_locks_is_named(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("makd.file_lock.fcntl.lockf", no_locks)
    with (
        pytest.raises(UserError, match=r"lock cannot be locked \(No locks available\).* let MAKD_CACHE name"),
        store.lock(),
    ):
        pass
