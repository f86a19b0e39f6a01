"""Scenes of several birds: a dataset in COCO's format whose boxes hold the birds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from makd import bird_drawing
from makd.bird_rendering import ATTRIBUTES
from makd.bird_scenes import BirdScenesParams, box_of, overlap, paint, render_scenes
from makd.birds import Marks, species
from makd.coco import read_coco

FEW = BirdScenesParams(train=4, test=2, image_px=64, empty=0.3)
SQUARE = (0.0, 0.0, 10.0, 10.0)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_dataset_is_drawn_once_and_always_the_same() -> None:
    draw = render_scenes(Path("scenes"), FEW, workers=1, progress=False)
    files = {path: path.read_bytes() for path in sorted(draw.rglob("*.*"))}
    found = read_coco(draw / "annotations/train.json")
    assert list(found.categories["name"]) == ["Finch", "Heronet", "Jay", "Robin", "Warbler"]
    assert len(found.pictures) == 4
    sizes = found.boxes[["left", "top"]].to_numpy() + found.boxes[["width", "height"]].to_numpy()
    assert sizes.max() <= 64
    assert found.boxes[["left", "top"]].to_numpy().min() >= 0
    truth = pd.read_parquet(draw / ATTRIBUTES)
    assert truth["path"].iloc[0] == f"{draw}/train/00000.png"
    assert render_scenes(Path("scenes"), FEW, workers=1, progress=False) == draw
    again = render_scenes(Path("again"), FEW, workers=1, progress=False)
    for path in files:
        if path.name != ATTRIBUTES:  # which names the folder
            assert (again / path.relative_to(draw)).read_bytes() == files[path], path


def test_species_are_categories_of_their_own() -> None:
    draw = render_scenes(Path("scenes"), FEW.model_copy(update={"categories": "species"}), workers=1, progress=False)
    assert list(read_coco(draw / "annotations/test.json").categories["name"]) == sorted(species())


@pytest.mark.parametrize("left", [True, False])
def test_a_box_holds_all_of_its_bird_and_no_more(left: bool) -> None:
    marks = Marks("blue", plump=True, crest=True, long_tail=True, tail="forked", beak="long", long_legs=True)
    pose = bird_drawing.Pose(x=0.05, y=-0.1, size=0.5, tilt=0.1, left=left)
    canvas = bird_drawing.Canvas(64)
    paint(bird_drawing.Bird(canvas, pose), marks, np.random.default_rng(0))
    rows, columns = np.nonzero(np.asarray(canvas.image).any(axis=2))
    drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / bird_drawing.SUPERSAMPLING
    x, y, width, height = box_of(marks, pose, 64)
    np.testing.assert_allclose([x, y, x + width, y + height], drawn, atol=0.5)


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(SQUARE, SQUARE) == 1
    assert overlap(SQUARE, (5.0, 0.0, 10.0, 10.0)) == pytest.approx(50 / 150)
    assert overlap(SQUARE, (20.0, 0.0, 10.0, 10.0)) == 0


def test_pictures_without_a_bird_have_no_facts() -> None:
    draw = render_scenes(Path("scenes"), FEW.model_copy(update={"empty": 0.99}), workers=1, progress=False)
    assert not pd.read_parquet(draw / ATTRIBUTES).drop(columns="path").to_numpy()[:4].any()
    assert Image.open(draw / "train/00000.png").size == (64, 64)
