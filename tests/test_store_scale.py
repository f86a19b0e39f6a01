"""A million images by a hundred questions. Their pixels are another matter: training holds those in memory, today."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

LIMIT_KIB = 2 * 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For some three gigabytes, which do not stay."""
    yield tmp_path / "project"
    rmtree(tmp_path)


def measure(step: str, folder: Path, cache: str) -> None:
    command = [sys.executable, "-m", "tests.scale_steps", step, str(folder)]
    environment = os.environ | {"MAKD_CACHE": str(folder / cache)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    *told, measured = done.stdout.splitlines()
    figures = json.loads(measured)
    print(f"{step}: {figures['seconds']:.0f} s, {figures['peak_kib'] / 2**20:.2f} GiB; {told[-1]}", flush=True)
    assert figures["peak_kib"] <= LIMIT_KIB, step


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_step_takes_more_than_two_gibibytes(folder: Path) -> None:
    measure("make", folder, "cache")
    measure("compile", folder, "cache")
    for kind in ("mllm", "random", "class_mean", "shuffled"):
        measure(f"targets {kind}", folder, "cache")
    rmtree(folder / "cache")
    measure("import", folder, "cache")
    measure("compact", folder, "cache")
    measure("count", folder, "cache")
