import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from makd.errors import UserError
from makd.store import Answers, AnswerStore, store_key

PROVENANCE = {"weights": "abc", "prompt": "$question"}


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path, PROVENANCE)


def answers(*rows: list[float]) -> Answers:
    z_yes = np.array(rows, np.float32)
    return Answers(z_yes, -z_yes)


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


def test_p_yes_is_the_softmax_of_the_two_logits() -> None:
    found = Answers(
        np.array([[0, 1, 200, -200, np.nan]], np.float32), np.array([[0, -1, -200, 200, np.nan]], np.float32)
    )
    np.testing.assert_allclose(found.p_yes, [[0.5, 1 / (1 + np.exp(-2)), 1, 0, np.nan]], rtol=1e-6)


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


def test_a_damaged_part_is_named(store: AnswerStore) -> None:
    store.add(["a"], ["p"], answers([1]))
    part = store.parts()[0]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{part.name} is damaged"):
        store.read(["a"], ["p"])


HOLD = """
import sys, time
from pathlib import Path
from makd.store import AnswerStore
with AnswerStore(Path(sys.argv[1]), {"weights": "abc", "prompt": "$question"}).lock():
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(folder: Path, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_process_at_a_time_asks(store: AnswerStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = hold(tmp_path, 0.5)
    start = time.monotonic()
    with store.lock():
        assert time.monotonic() - start > 0.3
    assert f"(process {other.pid})" in capsys.readouterr().out
    other.wait()


def test_a_killed_process_leaves_no_lock(store: AnswerStore, tmp_path: Path) -> None:
    other = hold(tmp_path, 60)
    other.kill()
    other.wait()
    start = time.monotonic()
    with store.lock():
        assert time.monotonic() - start < 5
