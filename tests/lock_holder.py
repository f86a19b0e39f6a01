"""Another process that holds a lock of an answer store."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from makd.store import AnswerStore

HOLD = """
import json, sys, time
from pathlib import Path
from makd.store import AnswerStore
root, provenance, lock, seconds, places = sys.argv[1:]
places = [range(*json.loads(places))] if json.loads(places) else []
with getattr(AnswerStore(Path(root), json.loads(provenance)), lock)(*places):
    print("held", flush=True)
    time.sleep(float(seconds))
"""


@contextmanager
def holding(
    store: AnswerStore, lock: str, seconds: float = 60, places: tuple[int, int] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """The process that is in `store.<lock>()`, for so long at most; killed at the end."""
    arguments = [str(store.folder.parent), json.dumps(store.provenance), lock, str(seconds), json.dumps(places)]
    with subprocess.Popen([sys.executable, "-c", HOLD, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()
