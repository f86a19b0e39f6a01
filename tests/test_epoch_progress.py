"""Progress in a log file and on a terminal."""

import io
import sys

import pytest

from makd.epoch_progress import EpochProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: EpochProgress, done: int = 0, epochs: int = 4) -> None:
    progress.start(done, epochs)
    for _ in range(done, epochs):
        progress.epoch_done(class_loss=1.5, aspect_loss=0.3, val_accuracy=0.25)


def test_log_has_whole_lines_and_always_the_last_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    run(EpochProgress("resnet10t makd seed 0", shown=True, line_every_s=3600.0))
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "resnet10t makd seed 0: epoch 1/4, class loss 1.500, aspect loss 0.300, val accuracy 0.250, "
    )
    assert last.startswith("resnet10t makd seed 0: epoch 4/4, ")
    assert last.endswith("0 s left")


def test_log_has_every_epoch_where_they_are_slow(capsys: pytest.CaptureFixture[str]) -> None:
    run(EpochProgress("t", shown=True, line_every_s=0.0))
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_resumed_run_says_so_and_counts_on(capsys: pytest.CaptureFixture[str]) -> None:
    run(EpochProgress("t", shown=True, line_every_s=0.0), done=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "t: resuming after epoch 2"
    assert [line.split(",")[0] for line in lines[1:]] == ["t: epoch 3/4", "t: epoch 4/4"]


def test_run_that_was_done_already_needs_no_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    run(EpochProgress("t", shown=True), done=4)
    assert capsys.readouterr().err == "t: resuming after epoch 4\n"


def test_nothing_is_written_where_progress_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    run(EpochProgress("t", shown=False, line_every_s=0.0), done=1)
    assert capsys.readouterr() == ("", "")


def test_terminal_has_a_bar_with_loss_accuracy_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(EpochProgress("t", shown=True))
    final = terminal.getvalue().rstrip().rsplit("\r", 1)[-1]
    assert "4/4" in final
    assert "class loss 1.500, aspect loss 0.300, val accuracy 0.250" in final
    assert terminal.getvalue().endswith("\n")
