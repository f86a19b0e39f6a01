import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from makd.cli import main
from makd.errors import UserError
from makd.evaluate_folder import evaluate_folder, evaluation_text, summed_up
from tests.trained_project import TrainedProject


@pytest.fixture
def photos(tmp_path: Path, trained: TrainedProject) -> Path:
    return Path(shutil.copytree(trained.root / "pictures/test", tmp_path / "photos"))


def test_the_test_split_as_a_folder_has_the_accuracy_of_the_run(shipped: Path, trained: TrainedProject) -> None:
    rows = trained.predictions()
    found = evaluate_folder(shipped, trained.root / "pictures/test")
    assert found.accuracy.images == len(rows)
    assert found.accuracy.percent == pytest.approx(100 * (rows["predicted"] == rows["class_name"]).mean())
    assert found.accuracy.low < found.accuracy.percent < found.accuracy.high or found.accuracy.percent in (0, 100)


def test_classes_and_confusions_by_hand() -> None:
    found = summed_up(np.array([0, 0, 0, 2]), np.array([0, 2, 2, 2]), ("a", "b", "c"), ["x"])
    assert found.accuracy.percent == 50
    assert [(one.name, one.images, round(one.right), one.taken_for) for one in found.classes] == [
        ("a", 3, 33, "c"),
        ("c", 1, 100, ""),
    ]
    text = evaluation_text(found)
    assert "50.0 % of 4 images are right (95 % interval 15.0 to 85.0)" in text
    assert text.index("\na ") < text.index("\nc ")


def test_macro_f1_is_over_the_classes_that_have_an_image() -> None:
    found = summed_up(np.array([0, 0]), np.array([0, 1]), ("a", "b"), [])
    assert found.macro_f1 == pytest.approx(200 / 3)


def test_hidden_folders_are_no_classes(shipped: Path, photos: Path) -> None:
    shutil.copytree(photos / "owl", photos / ".thumbnails")
    assert evaluate_folder(shipped, photos).accuracy.images == 18


def test_bad_files_are_named_and_the_exit_code_says_so(
    shipped: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "owl/bad.png").touch()
    monkeypatch.setattr(sys, "argv", ["makd", "evaluate-folder", str(shipped), str(photos), "--json", "--no-progress"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["accuracy"]["images"] == 18
    assert shown.err.startswith(f"skipped: {photos / 'owl/bad.png'} cannot be read")


def test_pictures_beside_the_folders_are_warned_of(
    shipped: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_folder(shipped, photos)
    assert capsys.readouterr().err == ""
    (photos / "loose.png").touch()
    (photos / "notes.txt").touch()
    evaluate_folder(shipped, photos)
    assert f"warning: 1 pictures lie beside the folders of {photos}, and are of no class" in capsys.readouterr().err


def test_what_cannot_be_evaluated_is_a_user_error(shipped: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder; expected one with a folder a class"):
        evaluate_folder(shipped, tmp_path / "nowhere")
    (tmp_path / "empty/owl").mkdir(parents=True)
    with pytest.raises(UserError, match="has no folder of a class with pictures"):
        evaluate_folder(shipped, tmp_path / "empty")
    (tmp_path / "empty/owl/bad.png").touch()
    with pytest.raises(UserError, match="not one of 1 images can be read; the first: "):
        evaluate_folder(shipped, tmp_path / "empty")
    (photos / "emu").mkdir()
    with pytest.raises(
        UserError, match="1 of 4 folders are named like no class, the first is 'emu'; the classes are auk"
    ):
        evaluate_folder(shipped, photos)
