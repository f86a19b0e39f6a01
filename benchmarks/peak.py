"""The most memory that asking takes beyond the loaded model, of a process of its own (Linux)."""

import os
import subprocess
import sys
from pathlib import Path

AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
"""glibc gives freed memory back at once. Else the pass uses again what the one before left, and it does not show."""


def peak_bytes(model: Path, n_questions: int, size: tuple[int, int]) -> int:
    arguments = [str(model), str(n_questions), *map(str, size)]
    command = [sys.executable, "-m", "benchmarks.peak", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, env=os.environ | AT_ONCE)
    return int(done.stdout.split()[-1])


def status(field: str) -> int:
    """A field of /proc/self/status, in bytes.

    VmHWM is the peak of this program; getrusage's ru_maxrss begins at what the process that started it held.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def main() -> None:
    from benchmarks.noise import noise
    from benchmarks.questions import questions
    from makd.scorer import Scorer
    from makd.vlm import VLM

    model, n_questions, width, height = Path(sys.argv[1]), *map(int, sys.argv[2:])
    image = noise((width, height))
    scorer = Scorer(VLM(model), questions(n_questions))
    scorer.prepare(image)
    inputs = scorer.conversation.inputs(image)
    scorer.score([inputs])  # libraries allocate on first use
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back
    scorer.score([inputs])
    print(status("VmHWM") - before)


if __name__ == "__main__":
    main()
