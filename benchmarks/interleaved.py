"""Timing several things in turn, so that all of them see the same moods of the machine."""

import time
from collections.abc import Callable, Mapping


def best_seconds(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least processor time of each task over `rounds` rounds, in seconds of all threads together."""
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            best[name] = min(best[name], time.process_time() - start)
    return best
