"""Ctrl-C that lets the work in flight end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def after_this(what: str) -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, for the caller to act on where it loses nothing; a second one acts at once.

    `what` is the piece of work that ends before anything is left.
    """
    interrupted = threading.Event()
    previous = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()  # no other thread may handle signals
    if not in_main or previous in (signal.SIG_IGN, None):  # who runs under nohup wants it to be ignored
        yield interrupted
        return

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)
        print(f"\nstopping after this {what}; Ctrl-C again stops at once, and this {what} is lost", flush=True)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def ignore_interrupts(worker: int) -> None:
    """For worker processes: a terminal sends Ctrl-C to all of its processes, and the main one decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
