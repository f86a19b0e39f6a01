"""The detection pipeline's embedded default: pictures of several cartoon birds, as a dataset in COCO's format.

A bird is drawn as in the classifier's default (makd/bird_drawing.py), smaller, on a wider ground that all birds of a
picture share. Its box holds all that is drawn of it inside the picture.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image
from pydantic import Field

from makd import bird_drawing
from makd.bird_drawing import Bird, Canvas, Points, Pose
from makd.bird_rendering import ATTRIBUTES, DRAW_DIGITS, STAMP, check_only_draws, is_rendered
from makd.birds import CHOICES, Habitat, Marks, facts, individual, seeded, species
from makd.file_lock import held
from makd.files import main_checkout, write_json, write_parquet
from makd.params import Block
from makd.progress import with_progress

SCENES_VERSION = 1
"""Raise it when a change of the code changes a pixel, a box or a fact: another version goes into another folder."""
SPLITS = ("train", "test")
TRIES = 50
"""Places that are tried for a bird; if all are taken, it is left out."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels, as in COCO."""


class BirdScenesParams(Block):
    """Which pictures are drawn."""

    seed: int = Field(2027, ge=0)
    train: int = Field(300, ge=1)  # pictures
    test: int = Field(150, ge=1)
    image_px: int = Field(128, ge=64, le=1024)
    most_birds: int = Field(3, ge=1, le=8)  # in a picture; each number from 1 to this is equally likely
    empty: float = Field(0.05, ge=0, lt=1)  # share of the pictures without a bird
    size_min: float = Field(0.35, gt=0, le=1)  # of a bird, in image sides
    size_max: float = Field(0.55, gt=0, le=1)
    variation: float = Field(0.35, ge=0, le=1)  # probability that an individual's mark is drawn anew
    categories: Literal["genus", "species"] = "genus"  # five, told by colour and shape, or twenty, told by fine marks


@dataclass(frozen=True)
class SceneBird:
    category: str
    marks: Marks
    pose: Pose
    box: Box


def render_scenes(root: Path, params: BirdScenesParams, *, workers: int, progress: bool) -> Path:
    """Draw the dataset below `root`/<draw>/, relative to the main checkout, unless it is there.

    <draw> is the hash of what decides the pictures. There are annotations/<split>.json, pictures in <split>/, and
    attributes.parquet: a row a picture, a bool column a fact of `makd.birds.facts`, true where it is of any bird.

    Returns:
        `root`/<draw>

    Raises:
        UserError: `root` holds what was not drawn here.
    """
    stamp: dict[str, object] = {"params": params.model_dump(), "version": SCENES_VERSION}
    draw = root / sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()[:DRAW_DIGITS]
    check_only_draws(main_checkout() / root, root)
    folder = main_checkout() / draw
    names = [name for split in SPLITS for name in picture_names(split, params)]
    with held(folder / "lock"):
        if is_rendered(folder, stamp) and all((folder / name).exists() for name in names):
            return draw
        for split in SPLITS:
            (folder / split).mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(max(1, workers)) as pool:
            drawn = pool.map(draw_to_file, [(folder, name, params) for name in names], chunksize=16)
            shown = with_progress(drawn, len(names), title="drawing scenes", unit="pictures", shown=progress)
            scenes = dict(zip(names, shown, strict=True))
        for split in SPLITS:
            of_split = {name: birds for name, birds in scenes.items() if name.startswith(split)}
            write_json(coco_json(of_split, params), folder / f"annotations/{split}.json")
        truth = pd.DataFrame(
            [{"path": (draw / name).as_posix(), **facts_of_any(birds)} for name, birds in scenes.items()]
        )
        write_parquet(pa.Table.from_pandas(truth, preserve_index=False), folder / ATTRIBUTES)
        write_json(stamp, folder / STAMP)
    return draw


def picture_names(split: str, params: BirdScenesParams) -> list[str]:
    return [f"{split}/{number:05d}.png" for number in range(getattr(params, split))]


def draw_to_file(job: tuple[Path, str, BirdScenesParams]) -> list[SceneBird]:
    folder, name, params = job
    picture, birds = draw_scene(params, seeded("scene", params.seed, name))
    picture.save(folder / name)
    return birds


def draw_scene(params: BirdScenesParams, rng: np.random.Generator) -> tuple[Image.Image, list[SceneBird]]:
    """A picture and the birds in it, those farther up (behind) first."""
    habitat: Habitat = CHOICES["habitat"][rng.integers(len(CHOICES["habitat"]))]  # type: ignore[assignment]
    ground = Marks(colour="brown", plump=False, habitat=habitat)
    canvas = Canvas(params.image_px)
    bird_drawing.draw_background(canvas, ground, rng)
    birds = sorted(placed_birds(params, habitat, rng), key=lambda bird: bird.pose.y)
    for bird in birds:
        paint(Bird(canvas, bird.pose), bird.marks, rng)
    bird_drawing.draw_foreground(canvas, ground, rng)
    return bird_drawing.develop(canvas, rng, params.image_px), birds


def placed_birds(params: BirdScenesParams, habitat: Habitat, rng: np.random.Generator) -> list[SceneBird]:
    kinds = species()
    placed: list[SceneBird] = []
    n_birds = 0 if rng.random() < params.empty else rng.integers(1, params.most_birds + 1)
    for _ in range(n_birds):
        name = list(kinds)[rng.integers(len(kinds))]
        # A branch would be as wide as the picture, and the ground is that of all.
        marks = replace(individual(kinds[name], params.variation, rng), habitat=habitat, branch=False)
        for _ in range(TRIES):
            pose = Pose(
                x=rng.uniform(-0.35, 0.35),
                y=rng.uniform(-0.35, 0.35),
                size=rng.uniform(params.size_min, params.size_max),
                tilt=rng.uniform(-0.22, 0.16),
                left=bool(rng.random() < 0.5),
            )
            bird = SceneBird(category_of(name, params), marks, pose, box_of(marks, pose, params.image_px))
            if all(overlap(bird.box, other.box) < 0.15 for other in placed) and is_inside(bird.box, params.image_px):
                placed.append(bird)
                break
    return placed


def category_of(name: str, params: BirdScenesParams) -> str:
    """Of a species, such as Hill Finch."""
    return name if params.categories == "species" else name.split()[-1]


def paint(bird: Bird, marks: Marks, rng: np.random.Generator) -> None:
    """As `makd.bird_drawing.draw_bird` does, without its surroundings."""
    colour = bird_drawing.vary(bird_drawing.BODY[marks.colour], rng, 16.0)
    bird_drawing.draw_legs(bird, marks)
    bird_drawing.draw_tail(bird, marks, colour)
    bird_drawing.draw_body(bird, marks, colour, rng)
    bird_drawing.draw_wing(bird, marks, colour)
    bird_drawing.draw_head(bird, marks, colour)


class Outline(Canvas):
    """Draws nothing, and keeps the points of all that would be drawn, in image sides."""

    def __init__(self) -> None:
        self.points: list[Points] = []

    def polygon(self, points: Points, colour: Any) -> None:
        self.points.append(points)


def box_of(marks: Marks, pose: Pose, image_px: int) -> Box:
    outline = Outline()
    paint(Bird(outline, pose), marks, np.random.default_rng(0))  # the generator decides colours and spots alone
    points = (np.concatenate(outline.points) + 0.5) * image_px
    (left, top), (right, bottom) = points.min(axis=0).round(2), points.max(axis=0).round(2)
    return float(left), float(top), float(right - left), float(bottom - top)


def is_inside(box: Box, image_px: int) -> bool:
    left, top, width, height = box
    return min(left, top) >= 0 and max(left + width, top + height) <= image_px


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def coco_json(scenes: dict[str, list[SceneBird]], params: BirdScenesParams) -> dict[str, Any]:
    """A dataset as COCO's instances_*.json are: ids from 1, file names without the split's folder."""
    names = sorted({category_of(name, params) for name in species()})
    ids = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, birds) in enumerate(scenes.items(), start=1):
        images.append(
            {"id": image_id, "file_name": Path(name).name, "width": params.image_px, "height": params.image_px}
        )
        for bird in birds:
            known = {"id": len(annotations) + 1, "image_id": image_id, "category_id": ids[bird.category]}
            area = round(bird.box[2] * bird.box[3], 2)
            annotations.append(known | {"bbox": list(bird.box), "area": area, "iscrowd": 0})
    categories = [{"id": number, "name": name, "supercategory": "bird"} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def facts_of_any(birds: list[SceneBird]) -> dict[str, bool]:
    """A fact of a picture is that of any of its birds; without one, none holds."""
    of_each = [facts(bird.marks) for bird in birds]
    names = facts(next(iter(species().values())))
    return {name: any(truth[name] for truth in of_each) for name in names}
