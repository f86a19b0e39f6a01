"""Progress bars that also read well in a log file."""

import sys
from collections.abc import Iterable, Iterator
from typing import NoReturn, TypeVar

from tqdm import tqdm

T = TypeVar("T")
LOG_INTERVAL_S = 30.0  # where nobody watches, a line every half minute instead of a moving bar


def progress_bar(total: int, *, title: str, unit: str, shown: bool, done: int = 0) -> "tqdm[NoReturn]":
    """A bar to `update()`, with rate and time left."""
    interval = 0.5 if sys.stderr.isatty() else LOG_INTERVAL_S
    return tqdm(total=total, initial=done, desc=title, unit=f" {unit}", disable=not shown, mininterval=interval)


def with_progress(items: Iterable[T], total: int, *, title: str, unit: str, shown: bool) -> Iterator[T]:
    with progress_bar(total, title=title, unit=unit, shown=shown) as bar:
        for item in items:
            yield item
            bar.update()
