"""What a large dataset costs to evaluate: 10,000 test images, 100 questions, 200 classes, one model, two seeds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_KIB = 4 * 2**20
LIMIT_SECONDS = 300.0


def measure(step: str, folder: Path) -> float:
    """Seconds that the step took in a process of its own, which is held to its memory."""
    command = [sys.executable, "-m", "tests.report_steps", step, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    *told, measured = done.stdout.splitlines()
    figures = json.loads(measured)
    print(f"{step}: {figures['seconds']:.0f} s, {figures['peak_kib'] / 2**20:.2f} GiB; {told[-1]}", flush=True)
    assert figures["peak_kib"] <= LIMIT_KIB, step
    return float(figures["seconds"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_evaluation_and_report_take_at_most_five_minutes_and_four_gibibytes(tmp_path: Path) -> None:
    measure("make", tmp_path)
    seconds = [measure(step, tmp_path) for step in ("evaluate", "report")]
    assert sum(seconds) <= LIMIT_SECONDS
