"""Two processes that share a batch train the student that one trains."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


def trained(processes: int, arm: str, folder: Path) -> dict[str, torch.Tensor]:
    out = folder / f"{processes}.safetensors"
    command = [sys.executable, "-m", "tests.two_processes", str(processes), arm, str(out)]
    done = subprocess.run(
        command, text=True, capture_output=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return load_file(out)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("arm", ["makd", "kd"])
def test_two_processes_give_the_weights_of_one(arm: str, tmp_path: Path) -> None:
    one, two = trained(1, arm, tmp_path), trained(2, arm, tmp_path)
    assert [weights.pop("world").item() for weights in (one, two)] == [1, 2]
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-3, atol=1e-4)
