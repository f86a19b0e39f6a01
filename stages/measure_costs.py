"""Measure what the aspects cost beside the baseline, and what the teacher cost (section 5.5 of the paper).

Reads: the manifest and the aspect table (how many classes, images and questions), speed.json of the answer store.
Writes: reports/costs.csv. Times are those of this machine: nothing depends on them but the report.
"""

import argparse
from pathlib import Path

from pydantic import Field

from makd.errors import one_line_errors
from makd.extraction_params import SEEING, ExtractLogitsParams
from makd.files import cache_dir
from makd.params import StageParams
from makd.recipe import Recipe
from makd.runtime import Runtime


class Params(StageParams):
    """What a step's time depends on."""

    models: tuple[str, ...] = Field(min_length=1)
    train: Recipe
    extract_logits: ExtractLogitsParams


def measure_costs(params: Params, runtime: Runtime, *, manifest: Path, aspects: Path, prompt: Path, out: Path) -> None:
    """Write a row a student into `out`; the teacher's cost is empty where no model was asked on this machine."""
    import pandas as pd

    from makd.aspects import asked_questions
    from makd.costs import student_costs
    from makd.csv_tables import write_csv
    from makd.devices import choose_device
    from makd.extraction_speed import kept_speed
    from makd.machine import device_name
    from makd.manifest import class_names, read_manifest
    from makd.provenance import provenance
    from makd.store import store_key

    images = read_manifest(manifest)
    n_classes, n_questions = len(class_names(images)), len(asked_questions(aspects))
    n_train = int((images["split"] == "train").sum())
    rows = []
    for model in params.models:
        rows.append(student_costs(model, n_classes, n_questions, params.train, device=runtime.device, n_train=n_train))
        print(
            f"{model}: {rows[-1]['baseline_train_seconds']:.3g} s an epoch, with aspects "
            f"{rows[-1]['train_ratio']:.3f} times that, in inference {rows[-1]['inference_ratio']:.3f} times",
            flush=True,
        )
    table = pd.DataFrame(rows).assign(device=device_name(choose_device(runtime.device)))
    speed = None
    if params.extract_logits.backend in SEEING:
        speed = kept_speed(cache_dir() / "answers" / store_key(provenance(params.extract_logits, prompt)))
    if speed:
        table = table.assign(
            extraction_device=speed.device,
            extraction_images=speed.images,
            extraction_questions=round(speed.answers / speed.images),
            extraction_seconds=speed.seconds_an_image,
        )
    write_csv(table, out)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.measure_costs", description=__doc__)
    for name in ("manifest", "aspects", "prompt", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    measure_costs(Params.load(), Runtime.load(), **vars(parser.parse_args()))


if __name__ == "__main__":
    with one_line_errors():
        main()
