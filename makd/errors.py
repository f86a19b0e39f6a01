"""The one exception that reaches the user as a single line."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """Something that the user can mend. The message says what was got, what was expected, where, and what to do."""


def on_a_line(text: object) -> str:
    """A message or a path as one line: the name of a file may hold the end of one."""
    return str(text).replace("\r", "\\r").replace("\n", "\\n")


def first_problem(error: "ValidationError") -> str:
    """Where pydantic first disagrees, and why."""
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg'].removeprefix('Value error, ')}"


def some(entries: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """The first entries, and how many more there are."""
    return between.join(entries[:most]) + (f" and {len(entries) - most} more" if len(entries) > most else "")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with the message alone on a `UserError` or Ctrl-C; a defect of ours keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after what was saved last", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        print(f"error: {on_a_line(error)}", file=sys.stderr)
        sys.exit(1)
