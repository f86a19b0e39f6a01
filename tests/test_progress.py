import pytest

from makd.progress import with_progress


def test_items_pass_through_and_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress("abc", 3, title="reading", unit="letters", shown=True)) == ["a", "b", "c"]
    assert "3/3" in capsys.readouterr().err


def test_a_quiet_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress("abc", 3, title="reading", unit="letters", shown=False)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
