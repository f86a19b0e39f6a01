import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from makd.bird_rendering import ATTRIBUTES, BirdsParams, draw_name, render_birds
from makd.birds import facts, species
from makd.errors import UserError

TWO = BirdsParams(train_per_class=2, val_per_class=1, test_per_class=1, image_px=16)


def render(root: Path, params: BirdsParams = TWO) -> dict[str, bytes]:
    draw = render_birds(root, params, workers=1, progress=False)
    return {path.relative_to(draw).as_posix(): path.read_bytes() for path in sorted(draw.glob("*/*/*.png"))}


def draw_of(root: Path) -> Path:
    return next(path.parent for path in root.glob("*/rendered.json"))


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


def test_every_draw_has_a_folder_of_its_own(tmp_path: Path) -> None:
    more = render(tmp_path, TWO.model_copy(update={"train_per_class": 3}))
    assert len(render(tmp_path)) == 20 * 4
    assert render(tmp_path, TWO.model_copy(update={"train_per_class": 3})) == more
    assert len(list(tmp_path.iterdir())) == 2


def test_other_code_draws_again_in_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = render(tmp_path)
    picture = draw_of(tmp_path) / next(iter(before))
    picture.write_bytes(b"of older code")
    monkeypatch.setattr("makd.bird_rendering.code_hash", lambda: "another")
    assert render(tmp_path) == before
    monkeypatch.setattr("makd.bird_rendering.DRAWING_VERSION", 0)
    render(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


HOLD = """
import sys, time
from pathlib import Path
from makd.file_lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(0.5)
"""


def test_while_one_run_draws_another_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / draw_name(TWO) / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert len(render(tmp_path)) == 20 * 4
        assert other.poll() == 0, "it went on while the other one drew"
    assert "waiting" in capsys.readouterr().out


def test_photos_of_the_user_are_refused_and_left_alone(tmp_path: Path) -> None:
    photo = tmp_path / "train" / "cat" / "a.png"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(photo)
    with pytest.raises(UserError, match=r"did not draw \(train\); set dataset to imagefolder"):
        render(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [photo]


def test_nothing_is_drawn_twice_and_what_is_gone_comes_back(tmp_path: Path) -> None:
    before = render(tmp_path)
    marker = draw_of(tmp_path) / "train" / next(iter(species())) / "0000.png"
    Image.new("RGB", (16, 16)).save(marker)
    assert render(tmp_path) != before  # left alone: the stamp says that these birds were drawn
    marker.unlink()
    assert render(tmp_path) == before


def test_the_truth_beside_the_pictures_has_a_row_a_picture(tmp_path: Path) -> None:
    pictures = render(tmp_path)
    truth = pd.read_parquet(draw_of(tmp_path) / ATTRIBUTES)
    assert set(truth["path"]) == {(draw_of(tmp_path) / path).as_posix() for path in pictures}
    assert list(truth.columns[1:]) == list(facts(next(iter(species().values()))))


def test_without_variation_the_truth_is_that_of_the_species(tmp_path: Path) -> None:
    render(tmp_path, TWO.model_copy(update={"variation": 0.0}))
    for row in pd.read_parquet(draw_of(tmp_path) / ATTRIBUTES).to_dict("records"):
        name = Path(row.pop("path")).parent.name
        assert row == facts(species()[name])


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="train_per_class"):
        BirdsParams(train_per_class=0)
