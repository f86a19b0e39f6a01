"""Timing several things in turn, so that all of them see the same moods of the machine."""

import time
from collections.abc import Callable, Mapping


def best_seconds(
    tasks: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """The least time of each task over `rounds` rounds, in seconds by `clock`.

    By default that is processor time, of all threads together, which other programs disturb least.
    """
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            start = clock()
            task()
            best[name] = min(best[name], clock() - start)
    return best
