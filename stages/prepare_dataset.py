"""Check params.yaml, find the images (or draw the default's), hash them, and write the manifest.

Always runs: images and the user's own answers are no DVC deps, so this stage sees what changed. Its outputs change with
them only.

Reads: params.yaml (whole), the images, the file of `extract_logits.table`.
Writes: data/manifest.parquet, data/given_answers.parquet (empty unless `extract_logits.backend` is table).
"""

import argparse
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field

from makd.answer_owners import answers_to_use
from makd.bird_rendering import BirdsParams, render_birds
from makd.datasets import image_list, imagefolder
from makd.errors import UserError, one_line_errors, some
from makd.extraction_params import ExtractLogitsParams
from makd.files import cache_dir, read_memo, write_json
from makd.given_answers import write_given
from makd.manifest import SPLITS, write_manifest
from makd.params import PARAMS_FILE, Block, StageParams, mending
from makd.published_sets import published
from makd.runtime import Runtime
from makd.scan import scan, warn_of_copies, without_unreadable
from makd.splits import cut
from makd.whole_params import warn_of_late_milestones, whole_params

if TYPE_CHECKING:
    from makd.recipe import Recipe

STAGES = (
    "prepare_dataset",
    "generate_questions",
    "select_questions",
    "extract_logits",
    "train",
    "measure_costs",
    "evaluate",
    "report",
)


class PrepareDatasetParams(Block):
    """The `prepare_dataset:` block of params.yaml."""

    root: Annotated[Path, AfterValidator(lambda root: Path(os.path.expanduser(root)))]
    val_fraction: float = Field(ge=0, lt=1)
    test_fraction: float = Field(gt=0, lt=1)
    split_seed: int
    dtd_fold: int = Field(1, ge=1, le=10)
    flowers102_protocol: Literal["official", "random"] = "official"
    birds: BirdsParams = BirdsParams()  # another dataset needs no block of theirs


class Params(StageParams):
    """What decides which images there are, and which answers come with them."""

    dataset: Literal[
        "birds",
        "imagefolder",
        "list",
        "stanford_cars",
        "oxford_pets",
        "dtd",
        "flowers102",
        "fgvc_aircraft",
        "caltech101",
        "cub200",
        "mini_imagenet",
    ]
    prepare_dataset: PrepareDatasetParams
    extract_logits: ExtractLogitsParams | None = None  # None: no answers are given


def prepare_dataset(params: Params, runtime: Runtime, *, manifest: Path, given_answers: Path | None = None) -> None:
    """Write the manifest of `params.dataset`, and the user's own answers; unreadable files are named and left out.

    Raises:
        UserError: no image, a class without a training image, fewer than two classes, answers about something else.
    """
    block = params.prepare_dataset
    root = block.root
    if params.dataset == "birds":
        root = render_birds(root, block.birds, workers=runtime.workers, progress=runtime.progress)
    match params.dataset:
        case "birds" | "imagefolder":
            rows = imagefolder(root)
        case "list":
            rows = image_list(root)
        case name:
            rows = published(name, root, dtd_fold=block.dtd_fold, flowers102_protocol=block.flowers102_protocol)
    if rows.empty:
        expected = "a row an image" if params.dataset == "list" else "a folder a class with images in it"
        raise UserError(f"prepare_dataset.root: no image in {root}; expected {expected}")
    scanned = scan(list(rows["path"]), workers=runtime.workers, progress=runtime.progress)
    rows = rows.assign(image_id=scanned["image_id"].to_numpy(), error=scanned["error"].to_numpy())
    left_out = list(rows.loc[rows["image_id"].isna(), "path"])
    rows = split_rows(without_unreadable(rows), block)
    check_classes(rows)
    warn_of_copies(rows, "split", "in more than one split")
    warn_of_copies(rows, "class_name", "under more than one class")
    labels = {name: label for label, name in enumerate(sorted(rows["class_name"].unique()))}
    write_manifest(rows.assign(label=rows["class_name"].map(labels)), manifest)
    counts = ", ".join(f"{(rows['split'] == split).sum()} {split}" for split in SPLITS)
    print(f"{len(rows)} images of {len(labels)} classes: {counts}")
    if given_answers:
        write_given(
            answers_to_use(params.extract_logits, rows, root.parent if params.dataset == "list" else root, left_out),
            given_answers,
        )


def split_rows(rows: pd.DataFrame, params: PrepareDatasetParams) -> pd.DataFrame:
    """Fill in the splits that the dataset does not come with: test from all images, then val from what remains."""
    split = rows["split"].where(rows["split"].notna(), "train")
    if "test" not in set(split):
        split = split.mask(cut(rows, params.test_fraction, params.split_seed), "test")
    if "val" not in set(split):
        train = rows[split == "train"]
        split.loc[train.index[cut(train, params.val_fraction, params.split_seed + 1)]] = "val"
    return rows.assign(split=split)


def check_classes(rows: pd.DataFrame) -> None:
    if rows["class_name"].nunique() < 2:
        raise UserError(f"a classifier needs two classes or more, got {list(rows['class_name'].unique())}")
    without = sorted(set(rows["class_name"]) - set(rows.loc[rows["split"] == "train", "class_name"]))
    if without:
        raise UserError(f"no training image of {some(without)}; add some, or remove the class from the other splits")
    if not (rows["split"] == "test").any():
        raise UserError("no test image: raise prepare_dataset.test_fraction, or give a test split")


def check_params(path: Path = PARAMS_FILE) -> None:
    """Every key of params.yaml, whatever stage it is for: a typo must not surface after hours of extraction."""
    checked = whole_params(STAGES, path)
    recipe: Recipe = checked["train"]
    warn_of_late_milestones("train.milestones", recipe.milestones, recipe.epochs, "epochs")
    kd = checked["kd"]
    if kd.source == "mllm" and "train" not in checked["extract_logits"].zero_shot_splits:
        raise UserError(
            f"{path}: kd.source is mllm, but extract_logits.zero_shot_splits has no train, and there are no scores to "
            f"learn from; {mending(path)}"
        )
    check_students([*checked["models"], *([kd.classifier] if kd.source == "classifier" else [])], recipe)


def check_students(models: Sequence[str], recipe: "Recipe") -> None:
    """Can timm build these classifiers, and do they take the recipe's pictures and weights? Are model_args for any?

    What was right is remembered: timm takes seconds to import, and weights may have to be downloaded. Arguments of a
    student that is not trained are fine, of one that does not exist they are a misspelling.
    """
    memo = cache_dir() / "students.json"
    known = {key for key in read_memo(memo, list) if isinstance(key, str)}
    trained = {student_key(model, recipe): model for model in models}
    named = {json.dumps([version("timm"), name]): name for name in set(recipe.model_args) - set(models)}
    if known.issuperset({*trained, *named}):
        return
    from makd.students import build_student, check_name, check_student

    for name in (name for key, name in trained.items() if key not in known):
        student = build_student(name, 2, 1, seed=0, pretrained=recipe.pretrained, model_args=recipe.args_of(name))
        check_student(student, name, recipe.image_px, 3)
    for name in named.values():
        check_name(name, "train.model_args")
    write_json(sorted(known.union(trained, named)), memo)


def student_key(model: str, recipe: "Recipe") -> str:
    """All that decides whether the student can be built."""
    return json.dumps([version("timm"), model, recipe.image_px, recipe.pretrained, recipe.args_of(model)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.prepare_dataset", description=__doc__)
    for name in ("manifest", "given-answers"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    check_params()
    prepare_dataset(Params.load(), Runtime.load(), **vars(arguments))


if __name__ == "__main__":
    with one_line_errors():
        main()
