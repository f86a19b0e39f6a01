import os
import signal

import pytest

from makd.interrupt import after_this


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_is_noted_and_the_second_acts(capsys: pytest.CaptureFixture[str]) -> None:
    with after_this("shard") as interrupted:
        assert not interrupted.is_set()
        press()
        assert interrupted.is_set()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert "stopping after this shard" in capsys.readouterr().out


def test_behind_it_ctrl_c_is_what_it_was() -> None:
    with after_this("shard"):
        pass
    with pytest.raises(KeyboardInterrupt):
        press()


def test_who_ignores_ctrl_c_goes_on_doing_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with after_this("shard") as interrupted:
        press()
        assert not interrupted.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
