from pathlib import Path

import pytest

from makd.extraction_speed import FILE, Speed, keep_speed, kept_speed

LARGE, SMALL = Speed("a GPU", 100, 5000, 20.0), Speed("a GPU", 3, 150, 9.0)


def test_seconds_are_those_of_an_image() -> None:
    assert LARGE.seconds_an_image == 0.2


def test_of_all_runs_the_one_that_asked_most_is_kept(tmp_path: Path) -> None:
    assert kept_speed(tmp_path) is None
    for speed in (SMALL, LARGE, SMALL):
        keep_speed(tmp_path, speed)
    assert kept_speed(tmp_path) == LARGE


def test_of_runs_that_asked_as_much_the_last_is_kept(tmp_path: Path) -> None:
    keep_speed(tmp_path, LARGE)
    again = Speed("another GPU", 100, 5000, 10.0)
    keep_speed(tmp_path, again)
    assert kept_speed(tmp_path) == again


def test_a_run_that_asked_nothing_is_no_measure(tmp_path: Path) -> None:
    keep_speed(tmp_path, Speed("a GPU", 0, 0, 0.1))
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"device": "a GPU"}', '{"wrong": 1}'])
def test_a_damaged_file_is_as_good_as_none_and_is_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert kept_speed(tmp_path) is None
    keep_speed(tmp_path, SMALL)
    assert kept_speed(tmp_path) == SMALL
