"""The embedded default on disk: an imagefolder of birds, and beside it what is true of each bird.

    <root>/<draw>/<split>/<species>/<number>.png
    <root>/<draw>/attributes.parquet      what is true of each
    <root>/<draw>/rendered.json           written last: the draw is whole

A draw is named by the hash of what decides its pictures: experiments with other birds, also at the same time, have
other folders. Nothing is ever deleted.
"""

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
from makd.files import exclusive, main_checkout, write_json, write_parquet
from makd.manifest import SPLITS
from makd.params import Block
from makd.progress import with_progress

ATTRIBUTES = "attributes.parquet"
"""A row a picture: its path as in the manifest, then a bool column a fact. For judging the teacher alone."""

STAMP = "rendered.json"
LOCK = ".drawn-by-makd"
"""In the root: held while birds are drawn, and the sign that this folder is ours to draw into."""

DRAWING_VERSION = 1
"""Raise it with every edit that changes a pixel or a fact: older drawings stay as they are then."""


class BirdsParams(Block):
    """Which birds are drawn."""

    seed: int = Field(2027, ge=0)
    train_per_class: int = Field(25, ge=1)
    val_per_class: int = Field(20, ge=0)
    test_per_class: int = Field(100, ge=1)
    image_px: int = Field(64, ge=16, le=512)
    variation: float = Field(0.35, ge=0, le=1)  # probability that an individual's mark is drawn anew


def render_birds(root: Path, params: BirdsParams, *, workers: int, progress: bool) -> Path:
    """Draw every bird, unless they are there already, and return their folder below `root`.

    Both are relative to the main checkout.

    Raises:
        UserError: `root` has files, and makd never drew there.
    """
    draw = root / draw_name(params)
    check_ours(root)
    try:
        with exclusive(main_checkout() / root / LOCK, f"another run that draws birds into {root}"):
            draw_missing(draw, params, workers, progress)
    except OSError as error:
        raise UserError(f"prepare_dataset.root: birds cannot be drawn into {root}: {error}") from None
    return draw


def draw_name(params: BirdsParams) -> str:
    decisive = json.dumps({"params": params.model_dump(), "version": DRAWING_VERSION}, sort_keys=True)
    return hashlib.sha256(decisive.encode()).hexdigest()[:12]


def check_ours(root: Path) -> None:
    folder = main_checkout() / root
    if (folder / LOCK).exists() or (folder / STAMP).exists():  # a stamp in the root: drawn before draws had names
        return
    foreign = folder.is_dir() and any(not file.name.startswith(".") for file in folder.iterdir())
    if foreign or folder.is_file():
        raise UserError(
            f"prepare_dataset.root: {root} has files that makd did not draw; "
            "set dataset to imagefolder (or list), or name an empty folder for the birds"
        )


def draw_missing(draw: Path, params: BirdsParams, workers: int, progress: bool) -> None:
    birds, folder = planned_birds(params), main_checkout() / draw
    stamp = {"params": params.model_dump(), "code": code_hash(), "pictures": len(birds)}
    if is_rendered(folder, stamp) and all((folder / path).exists() for path in birds):
        return
    (folder / STAMP).unlink(missing_ok=True)
    jobs = [(folder / path, path, marks, params) for path, marks in birds.items()]
    for file, *_ in jobs:
        file.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max(1, workers)) as pool:
        drawn = pool.map(draw_to_file, jobs, chunksize=32)
        for _ in with_progress(drawn, len(jobs), title="drawing birds", unit="birds", shown=progress):
            pass
    truth = pd.DataFrame([{"path": (draw / path).as_posix(), **facts(marks)} for path, marks in birds.items()])
    write_parquet(pa.Table.from_pandas(truth, preserve_index=False), folder / ATTRIBUTES)
    write_json(stamp, folder / STAMP)


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


def is_rendered(folder: Path, stamp: dict[str, object]) -> bool:
    try:
        return bool(json.loads((folder / STAMP).read_bytes()) == stamp)
    except (OSError, ValueError):  # none, or a broken one
        return False


def code_hash() -> str:
    """Of the code that decides the pixels: an edit there draws the birds anew."""
    sources = [Path(str(module.__file__)).read_bytes() for module in (makd.birds, makd.bird_drawing)]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:16]
