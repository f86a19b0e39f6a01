"""`make bench-gpu`, second half: an epoch of the size of StanfordCars, baseline and makd, eager and compiled.

8,144 random pictures of 224 px, 196 classes, Q = 50, ResNet-18, the recipe of presets/stanford_cars.yaml. Prints a
table for docs/performance.md. `--images 64 --device cpu` tries it out.
"""

import argparse
import time
from pathlib import Path

import torch

from benchmarks.training import Params
from makd.costs import train_task
from makd.interleaved import best_seconds
from makd.machine import device_name
from makd.students import build_student

N_CLASSES, N_QUESTIONS, MODEL = 196, 50, "resnet18"
PRESET = Path("presets/stanford_cars.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=8144)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "no GPU here; `--images 64 --device cpu` tries the script out\n")
    recipe = Params.load(PRESET).train
    print(f"{device_name(torch.device(arguments.device))}, torch {torch.__version__}, {arguments.images} images")
    print("| precision | compiled | baseline, s an epoch | makd, s an epoch | makd / baseline |")
    print("| --- | --- | --- | --- | --- |")
    for precision in ("32-true", "bf16-mixed"):
        for compiled in (False, True):
            changed = recipe.model_copy(update={"precision": precision, "compile": compiled})
            tasks = {
                arm: train_task(
                    build_student(MODEL, N_CLASSES, aspects, seed=0, model_args=recipe.args_of(MODEL)),
                    N_CLASSES,
                    aspects,
                    changed,
                    arguments.device,
                    arguments.images,
                )
                for arm, aspects in (("baseline", 0), ("makd", N_QUESTIONS))
            }
            best_seconds(tasks, 1, time.perf_counter)  # warms up, and compiles
            seconds = best_seconds(tasks, arguments.rounds, time.perf_counter)
            ratio = seconds["makd"] / seconds["baseline"]
            compiled_word = "yes" if compiled else "no"
            print(
                f"| {precision} | {compiled_word} | {seconds['baseline']:.2f} | {seconds['makd']:.2f} | {ratio:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
