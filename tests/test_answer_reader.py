from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import makd.store_parts
from makd.answers import Answers
from makd.store import AnswerStore
from makd.store_parts import Part, part_number
from makd.store_upkeep import compact
from tests.made_up_answers import answers, bounded

NAN = np.float32(np.nan)


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path, {})


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two images, and row groups of three."""
    monkeypatch.setattr("makd.answer_reader.BLOCK_IMAGES", 2)
    monkeypatch.setattr(makd.store_parts, "ROW_GROUP_ANSWERS", 6)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_are_the_whole_in_pieces(store: AnswerStore) -> None:
    ids, z = [f"{k}" for k in range(11)], np.random.default_rng(0).normal(size=(11, 2)).astype(np.float32)
    order = np.random.default_rng(1).permutation(11)
    store.add([ids[k] for k in order[:8]], ["p", "q"], Answers(z[order[:8]], -z[order[:8]]))
    store.add([ids[k] for k in order[8:]], ["q", "p"], Answers(z[order[8:], ::-1], -z[order[8:], ::-1]))
    reader = store.reader(ids, ["p", "q"])
    blocks = list(reader.blocks())
    assert [rows for rows, _ in blocks] == [slice(k, min(k + 2, 11)) for k in range(0, 11, 2)]
    np.testing.assert_array_equal(np.concatenate([found.z_yes for _, found in blocks]), z)
    np.testing.assert_array_equal(np.concatenate([found.z_no for _, found in blocks]), -z)
    np.testing.assert_array_equal(store.missing(ids, ["p", "q"]), np.zeros((11, 2), bool))


def test_a_reader_takes_rows_in_any_order_and_knows_nothing_of_minus_one(store: AnswerStore) -> None:
    store.add(["a", "b"], ["p"], answers([1], [2]))
    reader = store.reader(["a", "b"], ["p"])
    np.testing.assert_array_equal(reader.read(np.array([1, -1, 0, 1])).z_yes, [[2], [np.nan], [1], [2]])


def test_a_reader_refuses_ids_twice(store: AnswerStore) -> None:
    for ids in ((["a", "a"], ["p"]), (["a"], ["p", "p"])):
        with pytest.raises(ValueError, match="distinct"):
            store.reader(*ids)


def test_a_reader_outlives_the_compaction_of_what_it_has_listed(store: AnswerStore, tmp_path: Path) -> None:
    for k in range(4):
        store.add([f"{k}"], ["p"], answers([k]))
    reader = store.reader([f"{k}" for k in range(4)], ["p"])
    assert compact(tmp_path, store.key) == (4, 1)
    np.testing.assert_array_equal(reader.read(np.arange(4)).z_yes[:, 0], range(4))


def test_a_reader_lists_anew_when_parts_vanish_meanwhile(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(["a"], ["p"], answers([1]))
    gone = store.folder / "part-000000-gone.parquet"
    listings = [[gone, *store.parts()], store.parts()]
    monkeypatch.setattr("makd.answer_reader.parts_of", lambda folder: listings.pop(0))
    assert store.reader(["a"], ["p"]).read(np.array([0])).z_yes[0, 0] == 1
    assert not listings


def test_bounds_are_answers_and_keep_their_nulls(store: AnswerStore) -> None:
    store.add(["a"], ["q"], bounded(-0.5, np.nan, 0.75, 1))
    store.add(["b"], ["q"], bounded(np.nan, np.nan, 0, 1))
    store.add(["c"], ["q"], bounded(np.nan, np.nan, np.nan, np.nan))
    found = store.read(["a", "b", "c", "d"], ["q"])
    assert found.missing[:, 0].tolist() == [False, False, True, True]
    np.testing.assert_array_equal(found.z_yes[:, 0], [np.float32(-0.5), NAN, NAN, NAN])
    assert np.isnan(found.z_no).all()
    assert np.isnan(found.p_yes).all()
    np.testing.assert_array_equal(found.target(0.3)[:, 0], [np.float32(0.875), NAN, NAN, NAN])
    np.testing.assert_array_equal(found.target(1.0)[:, 0], [np.float32(0.875), NAN, NAN, NAN])


def test_bounds_of_other_images_make_no_columns(store: AnswerStore) -> None:
    store.add(["a"], ["q"], answers([2.0]))
    store.add(["b"], ["q"], bounded(-0.5, np.nan, 0.75, 1))
    assert not store.reader(["a"], ["q"]).bounded
    assert store.reader(["a", "b"], ["q"]).bounded


@pytest.mark.parametrize("exact_first", [True, False])
def test_an_answer_holds_as_a_whole_and_the_last_one_does(store: AnswerStore, exact_first: bool) -> None:
    both = [answers([2]), bounded(-0.5, np.nan, 0.75, 1)]
    for one in both if exact_first else both[::-1]:
        store.add(["a"], ["q"], one)
    found = store.read(["a"], ["q"])
    if exact_first:
        assert found.bounds is not None
        assert [one.item() for one in (found.z_yes, *found.bounds)] == [-0.5, 0.75, 1]
        assert np.isnan(found.z_no)
    else:
        assert (found.z_yes.item(), found.z_no.item()) == (2, -2)
        assert found.bounds is None


def test_a_block_opens_the_parts_that_hold_its_images_and_no_other(
    store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"image{k}" for k in range(12)]
    for k in range(0, 12, 3):
        store.add(ids[k : k + 3], ["q"], answers(*[[float(k + j)] for j in range(3)]))
    store.add(["elsewhere"], ["q"], answers([99.0]))
    reader = store.reader(ids, ["q"])
    opened: list[Path] = []
    open_part = makd.store_parts.open_part

    def noted(path: Path) -> AbstractContextManager[Part]:
        opened.append(path)
        return open_part(path)

    monkeypatch.setattr("makd.answer_reader.open_part", noted)
    assert reader.read(np.array([4, -1, 5, 7])).z_yes[[0, 2, 3], 0].tolist() == [4, 5, 7]
    assert [part_number(path) for path in opened] == [1, 2]
    assert reader.read(np.array([-1])).missing.all()
