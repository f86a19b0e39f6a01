"""The state of an unfinished run, outside DVC's outs, so that no `dvc exp run` deletes it."""

import hashlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from makd.files import atomic_write, cache_dir


def run_key(**inputs: Any) -> str:
    """A hash of everything that determines a run; JSON values. Another input is another run and starts afresh."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Checkpoint:
    """The last saved state of one run: whole or absent, and gone once the run's outputs are written."""

    every_s = 5.0  # a state that follows the last one sooner is skipped: an epoch can be that short

    def __init__(self, key: str) -> None:
        self.path = cache_dir() / "checkpoints" / key / "last.pt"
        self.saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state on the CPU, or None at the start of a run and where the file is damaged."""
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # of half a dozen kinds, by where the file was cut or overwritten
            kind = type(error).__name__
            print(f"warning: {self.path} cannot be read ({kind}), the run starts afresh", file=sys.stderr)
            return None
        return state

    def save(self, state: dict[str, Any], *, now: bool) -> None:
        """Replace the state; unless `now`, not more often than `every_s`."""
        if not now and time.monotonic() - self.saved_at < self.every_s:
            return
        with atomic_write(self.path) as temporary:
            torch.save(state, temporary)
        self.saved_at = time.monotonic()

    def delete(self) -> None:
        """Remove the state, and what a kill during a save may have left beside it."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
