"""Ctrl-C that lets the work in flight end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted:
    """True after a Ctrl-C."""

    def __init__(self) -> None:
        self.yes = False

    def __bool__(self) -> bool:
        return self.yes


@contextmanager
def after_this_shard() -> Iterator[Interrupted]:
    """The first Ctrl-C is noted, for the caller to act on where it loses nothing; a second one acts at once."""
    interrupted = Interrupted()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield interrupted
        return

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.yes = True
        signal.signal(signal.SIGINT, previous)
        print("\nstopping after this shard; Ctrl-C again stops at once, and the shard is asked again", flush=True)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def ignore_interrupts(worker: int) -> None:
    """For worker processes: a terminal sends Ctrl-C to all of its processes, and the main one decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
