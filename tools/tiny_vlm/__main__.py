"""Train, measure and write the tiny multimodal LLM: python -m tools.tiny_vlm [--out FOLDER] [--seed N]."""

import argparse
import time
from pathlib import Path

from tools.tiny_vlm.build import build
from tools.tiny_vlm.recipe import Recipe


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_vlm", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/tiny_vlm"), help="written whole, replaced if it exists")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    arguments = parser.parse_args()
    started = time.monotonic()

    def log(message: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {message}", flush=True)

    report = build(Recipe(seed=arguments.seed), arguments.out, log)
    log(f"{arguments.out}: accuracy {report.accuracy:.4f}, least AUC {report.least_auc:.4f} on the sixty questions")


if __name__ == "__main__":
    main()
