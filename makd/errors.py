"""The one exception that reaches the user as a single line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that the user can mend. The message says what was got, what was expected, where, and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with the message alone on a `UserError` or Ctrl-C; a defect of ours keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after what was saved last", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
