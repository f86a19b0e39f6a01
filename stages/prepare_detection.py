"""Check the params, find a dataset in COCO's format (or draw the default's), and write it as tables.

Always runs: pictures and annotations are no DVC deps, so this stage sees what changed. Its outputs change with them
only.

Reads: params.yaml (whole), the JSONs of instances, the pictures, the file of `extract_logits.table`.
Writes: data/pictures.parquet, data/boxes.parquet, data/categories.parquet (makd/detection_set.py),
    data/manifest.parquet (a row a picture, for the questions to be asked about), data/shown.parquet (a row a picture
    and category, for the questions to be written about) and data/given_answers.parquet.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, model_validator

from makd.answer_owners import answers_to_use
from makd.bird_scenes import BirdScenesParams, render_scenes
from makd.coco import read_coco, same_categories
from makd.detection_preparation import in_frames, joined, manifest_of, shown_of, without_degenerate
from makd.detection_set import DetectionSet, write_set
from makd.errors import UserError, one_line_errors, some
from makd.extraction_params import ExtractLogitsParams
from makd.files import cache_dir, main_checkout, read_memo, write_json
from makd.given_answers import write_given
from makd.manifest import write_manifest
from makd.orientation import read_frames
from makd.params import PARAMS_FILE, Block, StageParams, mending
from makd.runtime import Runtime
from makd.scan import scan, warn_of_copies, without_unreadable
from makd.whole_params import warn_of_late_milestones, whole_params

if TYPE_CHECKING:
    from makd.detection_recipe import DetectorRecipe

STAGES = (
    "prepare_detection",
    "generate_questions",
    "select_questions",
    "extract_logits",
    "train_detector",
    "evaluate_detector",
)
SPLITS = ("train", "test")
LEAST_TRAINING_PICTURES = 2
NAMED = 20  # boxes in a message before "and n more"
UserPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]


class CocoPart(Block):
    """Where a split lies, from `root`."""

    annotations: Path  # JSON of instances
    images: Path  # the folder that its file names start from


COCO2017 = {
    "train": CocoPart(annotations=Path("annotations/instances_train2017.json"), images=Path("train2017")),
    "test": CocoPart(annotations=Path("annotations/instances_val2017.json"), images=Path("val2017")),
}
BIRDS = {split: CocoPart(annotations=Path(f"annotations/{split}.json"), images=Path(split)) for split in SPLITS}


class PrepareDetectionParams(Block):
    """The `prepare_detection:` block."""

    root: UserPath
    train: CocoPart | None  # of `coco`
    test: CocoPart | None
    birds: BirdScenesParams = BirdScenesParams()  # another dataset needs no block of theirs


class Params(StageParams):
    """What decides which pictures and boxes there are, and which answers come with them."""

    dataset: Literal["birds", "coco2017", "coco"]
    prepare_detection: PrepareDetectionParams
    extract_logits: ExtractLogitsParams

    @model_validator(mode="after")
    def with_its_parts(self) -> "Params":
        if self.dataset == "coco" and not (self.prepare_detection.train and self.prepare_detection.test):
            raise ValueError("dataset coco needs prepare_detection.train and .test, each with annotations and images")
        return self

    @property
    def parts(self) -> dict[str, CocoPart]:
        if self.dataset != "coco":
            return {"birds": BIRDS, "coco2017": COCO2017}[self.dataset]
        block = self.prepare_detection
        return {split: part for split, part in zip(SPLITS, (block.train, block.test), strict=True) if part}


def prepare_detection(
    params: Params,
    runtime: Runtime,
    *,
    pictures: Path,
    boxes: Path,
    categories: Path,
    manifest: Path,
    shown: Path,
    given_answers: Path,
) -> None:
    """Write the dataset's tables; unreadable pictures and boxes without an area are named and left out.

    Raises:
        UserError: malformed annotations, pictures of another size than they say, no box to train on, answers about
            something else.
    """
    block = params.prepare_detection
    root = block.root
    if params.dataset == "birds":
        root = render_scenes(root, block.birds, workers=runtime.workers, progress=runtime.progress)
    found = read_parts(root, params.parts)
    rows = found.pictures
    scanned = scan(list(rows["path"]), workers=runtime.workers, progress=runtime.progress)
    rows = rows.assign(image_id=scanned["image_id"].to_numpy(), error=scanned["error"].to_numpy())
    left_out = list(rows.loc[rows["image_id"].isna(), "path"])
    for split, part in params.parts.items():
        there = rows.loc[rows["split"] == split, "image_id"].notna()
        if not there.any():
            raise UserError(
                f"none of the {len(there)} pictures of the {split} split can be read in {root / part.images}; "
                f"mend prepare_detection.root, or .{split}"
            )
    rows = without_unreadable(rows)
    rows = in_frames(rows, read_frames(dict(zip(rows["image_id"], rows["path"], strict=True))))
    known = found.boxes.merge(rows[["split", "coco_id"]], on=["split", "coco_id"])
    good, dropped = without_degenerate(rows, known)
    if dropped:
        named = some(dropped, NAMED, "; ")
        print(f"{len(dropped)} boxes have no area in their picture and are left out: {named}", file=sys.stderr)
    found = DetectionSet(rows, good, found.categories)
    check_split(found)
    images = manifest_of(found)
    write_set(found, {"pictures": pictures, "boxes": boxes, "categories": categories})
    write_manifest(images, manifest)
    write_manifest(shown_of(found), shown)
    write_given(answers_to_use(params.extract_logits, images, root, left_out), given_answers)
    for split in SPLITS:
        print(f"{split}: {describe(found.of(split))}")


def read_parts(root: Path, parts: dict[str, CocoPart]) -> DetectionSet:
    """What the JSONs say, with the path of each picture."""
    files = {split: main_checkout() / root / part.annotations for split, part in parts.items()}
    sets = {split: read_coco(file) for split, file in files.items()}
    categories = same_categories(sets["train"], sets["test"], (files["train"], files["test"]))
    found = joined(sets, categories)
    folders = found.pictures["split"].map({split: root / part.images for split, part in parts.items()})
    paths = [(folder / name).as_posix() for folder, name in zip(folders, found.pictures["file_name"], strict=True)]
    return found._replace(pictures=found.pictures.assign(path=paths))


def check_split(found: DetectionSet) -> None:
    """There must be something to learn, and something to measure."""
    for split in SPLITS:
        boxes = found.of(split).boxes
        if not (~boxes["crowd"]).any():
            raise UserError(f"the {split} split has no box that counts (crowd regions do not); give annotated pictures")
    boxed = found.of("train").boxes.query("not crowd")["coco_id"].nunique()
    if boxed < LEAST_TRAINING_PICTURES:
        raise UserError(f"the train split has {boxed} picture with boxes; BatchNorm needs {LEAST_TRAINING_PICTURES}")
    warn_of_copies(found.pictures, "split", "in both splits, which makes AP too good")


def describe(found: DetectionSet) -> str:
    """Its numbers, in words."""
    with_boxes = found.boxes.loc[~found.boxes["crowd"], "coco_id"].nunique()
    return (
        f"{len(found.pictures)} pictures ({len(found.pictures) - with_boxes} without a box), "
        f"{(~found.boxes['crowd']).sum()} boxes and {found.boxes['crowd'].sum()} crowd regions of "
        f"{found.boxes['label'].nunique()} of {len(found.categories)} categories"
    )


def check_params(path: Path = PARAMS_FILE) -> None:
    """Every key of the file, whatever stage it is for, and that the detectors can be built."""
    checked = whole_params(STAGES, path)
    block = checked["extract_logits"]
    if block.backend == "class_llm" or block.zero_shot_splits:
        raise UserError(
            f"{path}: answers by class say little about pictures of several classes; take another backend than "
            f"class_llm, and leave extract_logits.zero_shot_splits empty; {mending(path)}"
        )
    recipe: DetectorRecipe = checked["train_detector"]
    warn_of_late_milestones("train_detector.milestones", recipe.milestones, recipe.iterations, "iterations")
    for model in checked["models"] if recipe.pretrained else ():
        fetch_weights(model, recipe)


def fetch_weights(model: str, recipe: "DetectorRecipe") -> None:
    """Raise a UserError, before anything is asked, where a detector's pretrained weights cannot be had."""
    memo = cache_dir() / "detectors.json"
    known: list[str] = read_memo(memo, list)
    if model in known:
        return
    from makd.detectors import build_backbone

    build_backbone(model, recipe)  # type: ignore[arg-type]
    write_json(sorted([*known, model]), memo)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.prepare_detection", description=__doc__)
    for name in ("pictures", "boxes", "categories", "manifest", "shown", "given-answers"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    check_params()
    prepare_detection(Params.load(), Runtime.load(), **vars(arguments))


if __name__ == "__main__":
    with one_line_errors():
        main()
