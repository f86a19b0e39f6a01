"""Timing several things in turn, so that all of them see the same moods of the machine."""

import time
from collections.abc import Callable, Mapping


def best_seconds(
    tasks: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """The least time of each task over `rounds` rounds, in seconds by `clock`.

    By default that is processor time, of all threads together, which other programs disturb least.
    """
    return {name: min(seconds) for name, seconds in round_seconds(tasks, rounds, clock).items()}


def round_seconds(
    tasks: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """The time of each task in each round, in seconds by `clock`."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = clock()
            task()
            taken[name].append(clock() - start)
    return taken
