"""Runs every benchmark, prints its numbers and writes them to reports/benchmarks.json."""

import argparse
from pathlib import Path

import torch

from benchmarks import scale, scorer, training
from makd.files import write_json


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__).parse_args()
    torch.set_num_threads(1)  # threads that wait burn processor time, more the busier the machine
    found: dict[str, float] = {}
    for benchmark in (scorer, training, scale):
        for name, value in benchmark.measure().items():
            found[name] = float(f"{value:.3g}")
            print(f"{name:42} {value:10.3g}", flush=True)
    write_json(found, Path("reports/benchmarks.json"))


if __name__ == "__main__":
    main()
