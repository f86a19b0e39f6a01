"""The embedded default on disk: an imagefolder of birds, and beside it what is true of each bird."""

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pydantic import Field

import makd.bird_drawing
import makd.birds
from makd.bird_drawing import draw_bird
from makd.birds import Marks, facts, individual, seeded, species
from makd.errors import UserError
from makd.file_lock import held
from makd.files import main_checkout, write_json, write_parquet
from makd.manifest import SPLITS
from makd.params import Block
from makd.progress import with_progress

ATTRIBUTES = "attributes.parquet"
"""A row a picture: its path as in the manifest, then a bool column a fact. For judging the teacher alone."""

STAMP = "rendered.json"
DRAW_DIGITS = 12
DRAWING_VERSION = 1
"""Raise it when a change of the code changes a pixel or a fact: another version is drawn into another folder.

The folder does not go by the code itself: a comment there would change every path, and train every student anew.
"""


class BirdsParams(Block):
    """Which birds are drawn."""

    seed: int = Field(2027, ge=0)
    train_per_class: int = Field(25, ge=1)
    val_per_class: int = Field(20, ge=0)
    test_per_class: int = Field(100, ge=1)
    image_px: int = Field(64, ge=16, le=512)
    variation: float = Field(0.35, ge=0, le=1)  # probability that an individual's mark is drawn anew


def render_birds(root: Path, params: BirdsParams, *, workers: int, progress: bool) -> Path:
    """Draw every bird below `root`/<draw>/<split>/<species>/, relative to the main checkout, unless they are there.

    <draw> is the hash of what decides the pictures, so that experiments with different birds, also those that run
    at the same time, never share a folder. Nothing is ever deleted.

    Returns:
        `root`/<draw>

    Raises:
        UserError: `root` holds what was not drawn here.
    """
    birds = planned_birds(params)
    stamp = {"params": params.model_dump(), "code": code_hash(), "pictures": len(birds)}
    draw = root / draw_name(params)
    check_only_draws(main_checkout() / root, root)
    folder = main_checkout() / draw
    with held(folder / "lock"):
        if not (is_rendered(folder, stamp) and all((folder / path).exists() for path in birds)):
            jobs = [(folder / path, path, marks, params) for path, marks in birds.items()]
            for path, *_ in jobs:
                path.parent.mkdir(parents=True, exist_ok=True)
            with ProcessPoolExecutor(max(1, workers)) as pool:
                drawn = pool.map(draw_to_file, jobs, chunksize=32)
                for _ in with_progress(drawn, len(jobs), title="drawing birds", unit="birds", shown=progress):
                    pass
            truth = pd.DataFrame([{"path": (draw / path).as_posix(), **facts(marks)} for path, marks in birds.items()])
            write_parquet(pa.Table.from_pandas(truth, preserve_index=False), folder / ATTRIBUTES)
            write_json(stamp, folder / STAMP)
    return draw


def draw_name(params: BirdsParams) -> str:
    decides = json.dumps({"params": params.model_dump(), "version": DRAWING_VERSION}, sort_keys=True)
    return hashlib.sha256(decides.encode()).hexdigest()[:DRAW_DIGITS]


def check_only_draws(folder: Path, root: Path) -> None:
    """Somebody's own photos in `root` mean that params.yaml still asks for birds by mistake."""
    others = [] if not folder.exists() else [entry.name for entry in folder.iterdir() if not is_draw(entry.name)]
    if others:
        raise UserError(
            f"prepare_dataset.root: {root} has files that makd did not draw ({sorted(others)[0]}); "
            "set dataset to imagefolder or list, or name an empty folder for the birds"
        )


def is_draw(name: str) -> bool:
    return len(name) == DRAW_DIGITS and not set(name) - set("0123456789abcdef")


def planned_birds(params: BirdsParams) -> dict[str, Marks]:
    """The marks of every bird by its path below the root."""
    counts = dict(zip(SPLITS, (params.train_per_class, params.val_per_class, params.test_per_class), strict=True))
    return {
        f"{split}/{name}/{k:04d}.png": individual(marks, params.variation, seeded("birds", params.seed, split, name, k))
        for split, count in counts.items()
        for name, marks in species().items()
        for k in range(count)
    }


def draw_to_file(job: tuple[Path, str, Marks, BirdsParams]) -> None:
    file, path, marks, params = job
    draw_bird(marks, seeded("pose", params.seed, path), params.image_px).save(file)


def is_rendered(root: Path, stamp: dict[str, object]) -> bool:
    file = root / STAMP
    return file.exists() and bool(json.loads(file.read_text()) == stamp)


def code_hash() -> str:
    """Of the code that decides the pixels: an edit there draws the birds anew."""
    sources = [Path(str(module.__file__)).read_bytes() for module in (makd.birds, makd.bird_drawing)]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]
