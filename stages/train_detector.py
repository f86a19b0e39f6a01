"""Train one detector: the makd arm on boxes and aspects, or the baseline arm on the boxes alone.

Reads: data/pictures.parquet, data/boxes.parquet, data/categories.parquet, the pictures and, in the makd arm,
    data/manifest.parquet and data/aspects.parquet.
Writes: models/<model>/<arm>/seed<seed>/ with model.safetensors (the plain detector, under torchvision's names),
    aspect_head.safetensors and aspects.parquet in the makd arm, config.json, history.csv and detections.json (of the
    test pictures, in COCO's result format).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from makd.detection_recipe import AspectFeatures, DetectorName, DetectorRecipe
from makd.errors import one_line_errors
from makd.files import whole_folder, write_json, write_parquet
from makd.params import StageParams
from makd.runtime import Runtime

if TYPE_CHECKING:
    import numpy as np

    from makd.detection_pictures import BoxedPicture


class BaselineParams(StageParams):
    """What the baseline arm depends on: neither alpha nor the answers, so that no ablation trains it anew."""

    train_detector: DetectorRecipe


class Params(BaselineParams):
    """What the makd arm depends on."""

    n_questions: int = Field(ge=1)
    alpha: float = Field(ge=0)
    aspect_targets: Literal["mllm", "random", "class_mean", "shuffled"]
    aspect_features: AspectFeatures


def train_detector(
    params: BaselineParams,
    runtime: Runtime,
    *,
    model: DetectorName,
    seed: int,
    pictures: Path,
    boxes: Path,
    categories: Path,
    manifest: Path | None = None,
    aspects: Path | None = None,
    out: Path,
) -> None:
    """Train the detector `model` from `seed` into the folder `out`; a run cut short goes on where it was saved.

    `Params`, `manifest` and `aspects` make the makd arm, `BaselineParams` alone the baseline.

    Raises:
        UserError: a picture or a table that does not fit, pretrained weights that are not there, a loss not finite.
        KeyboardInterrupt: after the iterations in flight, which are kept.
    """
    import pandas as pd
    from safetensors.torch import save_file

    from makd.aspects import questions_in_use
    from makd.checkpoints import Checkpoint
    from makd.coco_results import write_results
    from makd.detection_pictures import boxed_pictures
    from makd.detection_results import detection_rows
    from makd.detection_set import read_set
    from makd.detection_training import DetectorRun, detect, fit_detector
    from makd.detectors import build_detector, plain_state
    from makd.live import live_metrics
    from makd.tensors import contiguous
    from makd.training import make_fabric

    recipe, found = params.train_detector, read_set(pictures, boxes, categories)
    questions = questions_in_use(aspects, params.n_questions) if aspects and isinstance(params, Params) else []
    training, test = (boxed_pictures(found.of(split)) for split in ("train", "test"))
    if not recipe.empty_pictures:
        training = [picture for picture in training if len(picture.labels)]
    arm, alpha = "baseline", 0.0
    features: AspectFeatures = "c5"
    if isinstance(params, Params):
        arm, alpha, features = "makd", params.alpha, params.aspect_features
    detector = build_detector(model, len(found.names), len(questions), recipe, seed=seed, features=features)
    fabric = make_fabric(runtime.device, recipe.precision, runtime.processes)
    fabric.launch()  # from here on in each of runtime.processes
    first = fabric.is_global_zero
    config = {
        "model": model,
        "arm": arm,
        "seed": seed,
        "categories": found.names,
        "questions": questions,
        "params": params.model_dump(mode="json"),
    }
    checkpoint = Checkpoint(key_of(config, [pictures, boxes, categories, *([aspects] if aspects else [])]))
    with live_metrics(shown=first) as log:
        history = fit_detector(
            detector,
            training,
            targets_of(training, manifest, aspects, params, seed),
            DetectorRun(recipe, seed, fabric, alpha),
            checkpoint,
            workers=runtime.workers,
            title=f"{model} {arm} seed {seed}",
            shown=runtime.progress and first,
            log=log,
        )
    if not first:  # of several processes, one writes
        return

    detected = detect(detector, test, fabric, workers=runtime.workers)
    with whole_folder(out) as folder:
        save_file(contiguous(plain_state(detector)), folder / "model.safetensors")
        write_json(config, folder / "config.json")
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False, float_format="%.6g", lineterminator="\n")
        write_results(detection_rows(detected.detections, test, found.categories), folder / "detections.json")
        if detector.aspect_head is not None:
            save_file(contiguous(detector.aspect_head.state_dict()), folder / "aspect_head.safetensors")
            write_p_yes(test, detected.aspect_logits.sigmoid().numpy(), questions, folder / "aspects.parquet")
    checkpoint.delete()


def targets_of(
    training: "list[BoxedPicture]", manifest: Path | None, aspects: Path | None, params: BaselineParams, seed: int
) -> "np.ndarray":
    """What the aspects are trained towards, shape (pictures, Q), in [0, 1] or NaN; Q is 0 in the baseline arm."""
    import numpy as np

    from makd.manifest import read_manifest
    from makd.run_data import training_targets

    if manifest is None or not isinstance(params, Params):
        return np.empty((len(training), 0), np.float32)
    rows = read_manifest(manifest).drop_duplicates("image_id").set_index("image_id", drop=False)
    rows = rows.loc[[picture.image_id for picture in training]]
    return training_targets(rows, aspects, params.aspect_targets, seed)


def write_p_yes(pictures: "list[BoxedPicture]", p_yes: "np.ndarray", questions: list[str], path: Path) -> None:
    """P(yes) of the test pictures: image_id, then a column a question, named by its text."""
    import pandas as pd
    import pyarrow as pa

    table = pd.DataFrame(p_yes, columns=questions)
    table.insert(0, "image_id", [picture.image_id for picture in pictures])
    write_parquet(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), path)


def key_of(config: dict[str, Any], inputs: list[Path]) -> str:
    """Of the checkpoint: the params, the data, and the versions of the code that computes; as `stages.train`'s."""
    import torch
    import torchvision

    from makd.checkpoints import file_hash, run_key
    from makd.detection_training import CODE_VERSION

    versions = {"makd": CODE_VERSION, "torch": torch.__version__, "torchvision": torchvision.__version__}
    return run_key(config=config, inputs={path.name: file_hash(path) for path in inputs}, versions=versions)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train_detector", description=__doc__)
    parser.add_argument("arm", choices=("baseline", "makd"))
    parser.add_argument("model", choices=get_args(DetectorName), help="backbone")
    parser.add_argument("seed", type=int)
    for name in ("pictures", "boxes", "categories"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, help="the makd arm's classes, for the controls")
    parser.add_argument("--aspects", type=Path, help="the makd arm's answers")
    parser.add_argument("--out", type=Path, required=True)
    arguments = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    arm = arguments.pop("arm")
    if {"manifest", "aspects"} & set(arguments) != ({"manifest", "aspects"} if arm == "makd" else set()):
        parser.error("the makd arm needs --manifest and --aspects, and the baseline takes neither")
    train_detector((Params if arm == "makd" else BaselineParams).load(), Runtime.load(), **arguments)


if __name__ == "__main__":
    with one_line_errors():
        main()
