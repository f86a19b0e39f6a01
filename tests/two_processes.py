"""Trains a student in some processes and writes its weights; run by tests/test_processes.py in a process of its own.

python -m tests.two_processes PROCESSES ARM OUT
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from makd.checkpoints import Checkpoint
from makd.class_teacher import ScoresTeacher
from makd.epoch_progress import EpochProgress
from makd.examples import Examples, TrainingExamples
from makd.kd import Kd
from makd.params import read_params
from makd.recipe import Recipe
from makd.students import build_student
from makd.training import Run, fit, make_fabric

C, Q, N, PX = 3, 4, 41, 16  # batches of 8 and a last one of 9, which two processes cannot share


def main() -> None:
    processes, arm, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    recipe = Recipe.model_validate(
        read_params()["train"]
        | {"image_px": PX, "resize_px": PX, "stored_px": PX, "epochs": 2, "batch_size": 8, "milestones": [], "lr": 0.05}
    )
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (N, 3, PX, PX), dtype=torch.uint8, generator=generator)
    labels = torch.arange(N) % C
    p_yes = torch.rand(N, Q, generator=generator)
    p_yes[torch.rand(N, Q, generator=generator) < 0.3] = torch.nan  # a mean over parts would weigh them wrongly
    scores = torch.randn(N, C, generator=generator)
    scores[::5] = torch.nan

    run = Run(C, recipe, 0, make_fabric("cpu", "32-true", processes), alpha=5.0)
    if arm == "kd":
        kd = Kd.model_validate(
            read_params()["kd"] | {"source": "mllm", "method": "dkd", "dkd_warmup_epochs": 0, "weight": 0.05}
        )
        run = Run(C, recipe, 0, run.fabric, alpha=5.0, aspect_loss="kl", kd=kd, teacher=ScoresTeacher(scores))
    run.fabric.launch()
    torch.set_num_threads(1)
    student = build_student("resnet10t", C, Q, seed=0, model_args={"channels": (8, 8, 8, 8), "stem_width": 8})
    training = TrainingExamples(pixels, np.ones(N, np.float32), labels, p_yes)
    history = fit(
        student,
        training,
        Examples(pixels, labels, p_yes),
        run,
        Checkpoint(arm + str(processes)),
        EpochProgress("", shown=False),
    )
    if run.fabric.is_global_zero:
        losses = torch.tensor([row["train_loss"] for row in history])
        weights = {name: value.contiguous() for name, value in student.state_dict().items()}
        save_file({**weights, "losses": losses, "world": torch.tensor(run.fabric.world_size)}, out)


if __name__ == "__main__":
    main()
