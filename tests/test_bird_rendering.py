import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from makd import bird_rendering
from makd.bird_rendering import ATTRIBUTES, LOCK, STAMP, BirdsParams, render_birds
from makd.birds import facts, species
from makd.datasets import imagefolder
from makd.errors import UserError
from makd.files import exclusive
from makd.manifest import write_manifest
from stages.evaluate import attributes_beside_pictures

TWO = BirdsParams(train_per_class=2, val_per_class=1, test_per_class=1, image_px=16)


def draw(root: Path, params: BirdsParams = TWO) -> Path:
    return render_birds(root, params, workers=1, progress=False)


def render(root: Path, params: BirdsParams = TWO) -> dict[str, bytes]:
    folder = draw(root, params)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/*/*.png"))}


def test_birds_are_the_same_in_every_place(tmp_path: Path) -> None:
    pictures = render(tmp_path / "a")
    assert pictures == render(tmp_path / "b")
    assert len(pictures) == 20 * 4
    assert len(set(pictures.values())) == 20 * 4


def test_another_seed_draws_other_birds_of_the_same_species(tmp_path: Path) -> None:
    one, two = render(tmp_path / "a"), render(tmp_path / "b", TWO.model_copy(update={"seed": 7}))
    assert one.keys() == two.keys()
    assert not set(one.values()) & set(two.values())


def test_more_birds_leave_the_others_as_they_are(tmp_path: Path) -> None:
    few, more = render(tmp_path / "a"), render(tmp_path / "b", TWO.model_copy(update={"train_per_class": 3}))
    assert few.items() < more.items()


def test_draws_in_the_same_place_leave_each_other_alone(tmp_path: Path) -> None:
    draws = [TWO.model_copy(update=change) for change in ({}, {"seed": 7}, {"train_per_class": 3}, {"variation": 0.1})]
    first = [render(tmp_path, params) for params in draws]
    assert len({draw(tmp_path, params) for params in draws}) == len(draws)
    assert [render(tmp_path, params) for params in draws] == first
    assert list(first[0]) != list(first[2])  # and none has the strays of another


def test_another_version_of_the_drawing_has_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = draw(tmp_path)
    monkeypatch.setattr(bird_rendering, "DRAWING_VERSION", bird_rendering.DRAWING_VERSION + 1)
    assert draw(tmp_path) != before


def test_an_edit_of_the_drawing_code_draws_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = render(tmp_path)
    marker = draw(tmp_path) / next(iter(before))
    Image.new("RGB", (16, 16)).save(marker)
    monkeypatch.setattr(bird_rendering, "code_hash", lambda: "edited")
    assert render(tmp_path) == before


@pytest.mark.parametrize("photo", ["train/crow/1.png", "crow.jpg"])
def test_birds_are_not_drawn_among_the_files_of_others(tmp_path: Path, photo: str) -> None:
    file = tmp_path / photo
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"mine")
    with pytest.raises(UserError, match="has files that makd did not draw; set dataset to imagefolder"):
        draw(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_what_others_put_beside_the_draws_stays(tmp_path: Path) -> None:
    draw(tmp_path)
    photo = tmp_path / "train" / "crow" / "1.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"mine")
    draw(tmp_path, TWO.model_copy(update={"seed": 7}))
    assert photo.read_bytes() == b"mine"


def test_a_root_that_cannot_hold_birds_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"prepare_dataset\.root: "):
            draw(root)


def test_while_one_run_draws_another_waits(tmp_path: Path) -> None:
    script = "import sys; from tests.test_bird_rendering import draw, Path; draw(Path(sys.argv[1]))"
    with exclusive(tmp_path / LOCK, "nobody"):
        waiting = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
        assert waiting.stdout
        assert "waiting for another run that draws birds" in waiting.stdout.readline()
        assert not list(tmp_path.glob("*/"))
    assert waiting.wait(60) == 0
    assert list(tmp_path.glob(f"*/{ATTRIBUTES}"))


def test_nothing_is_drawn_twice_and_what_is_gone_comes_back(tmp_path: Path) -> None:
    before = render(tmp_path)
    marker = draw(tmp_path) / "train" / next(iter(species())) / "0000.png"
    Image.new("RGB", (16, 16)).save(marker)
    assert render(tmp_path) != before  # left alone: the stamp says that these birds were drawn
    marker.unlink()
    assert render(tmp_path) == before


@pytest.mark.parametrize("stamp", [b"", b"{", b"\xff"])
def test_a_broken_stamp_draws_anew(tmp_path: Path, stamp: bytes) -> None:
    before = render(tmp_path)
    (draw(tmp_path) / STAMP).write_bytes(stamp)
    assert render(tmp_path) == before


def test_the_truth_beside_the_pictures_has_a_row_a_picture(tmp_path: Path) -> None:
    folder = draw(tmp_path)
    truth = pd.read_parquet(folder / ATTRIBUTES)
    assert set(truth["path"]) == {path.as_posix() for path in folder.glob("*/*/*.png")}
    assert list(truth.columns[1:]) == list(facts(next(iter(species().values()))))


def test_evaluate_finds_the_truth_of_the_draw_that_the_manifest_lists(tmp_path: Path) -> None:
    other, folder = draw(tmp_path, TWO.model_copy(update={"seed": 7})), draw(tmp_path)
    rows = imagefolder(folder).assign(image_id="any", label=0)
    write_manifest(rows, tmp_path / "manifest.parquet")
    assert attributes_beside_pictures(tmp_path / "manifest.parquet") == folder / ATTRIBUTES != other / ATTRIBUTES


def test_without_variation_the_truth_is_that_of_the_species(tmp_path: Path) -> None:
    folder = draw(tmp_path, TWO.model_copy(update={"variation": 0.0}))
    for row in pd.read_parquet(folder / ATTRIBUTES).to_dict("records"):
        name = Path(row.pop("path")).parent.name
        assert row == facts(species()[name])


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="train_per_class"):
        BirdsParams(train_per_class=0)
