"""Live progress over epochs: a bar on a terminal, a plain line now and then in a log."""

import sys
import time
from typing import NoReturn

from tqdm import tqdm


class EpochProgress:
    """Writes to stderr. Seconds appear here and in no output file, which must be equal between runs."""

    def __init__(self, title: str, *, shown: bool, line_every_s: float = 10.0) -> None:
        self.title = title
        self.shown = shown
        self.line_every_s = line_every_s
        self.bar: tqdm[NoReturn] | None = None

    def start(self, done: int, epochs: int) -> None:
        """`done` of `epochs` are done already, where a run is resumed."""
        self.done, self.epochs = done, epochs
        self.first, self.started, self.line_at = done, time.monotonic(), float("-inf")
        if self.shown and done:
            print(f"{self.title}: resuming after epoch {done}", file=sys.stderr)
        if self.shown and sys.stderr.isatty():
            self.bar = tqdm(desc=self.title, total=epochs, initial=done, unit="epoch")

    def epoch_done(self, *, class_loss: float, aspect_loss: float, val_accuracy: float) -> None:
        """The losses apart, before alpha: their sum cannot be held against the baseline's."""
        self.done += 1
        numbers = f"class loss {class_loss:.3f}, aspect loss {aspect_loss:.3f}, val accuracy {val_accuracy:.3f}"
        if self.bar is not None:
            self.bar.set_postfix_str(numbers, refresh=False)
            self.bar.update()
            if self.done == self.epochs:
                self.bar.close()
        elif self.shown:
            self.print_line(numbers)

    def print_line(self, numbers: str) -> None:
        now = time.monotonic()
        if now - self.line_at < self.line_every_s and self.done < self.epochs:
            return
        self.line_at = now
        epoch_s = (now - self.started) / (self.done - self.first)
        print(
            f"{self.title}: epoch {self.done}/{self.epochs}, {numbers}, {epoch_s:.2f} s an epoch, "
            f"{epoch_s * (self.epochs - self.done):.0f} s left",
            file=sys.stderr,
        )
