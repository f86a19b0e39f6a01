from pathlib import Path

import pandas as pd
import pytest

from makd.datasets import image_list, imagefolder
from makd.errors import UserError


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def triples(table: pd.DataFrame) -> set[tuple[str, str, str | None]]:
    return {(Path(path).name, name, split) for path, name, split in table.itertuples(index=False)}


def test_one_folder_a_class_leaves_the_split_open(tmp_path: Path) -> None:
    touch(tmp_path / "ant" / "1.PNG", tmp_path / "bee" / "deep" / "2.jpg", tmp_path / "bee" / "notes.txt")
    assert triples(imagefolder(tmp_path)) == {("1.PNG", "ant", None), ("2.jpg", "bee", None)}


def test_split_folders_are_kept(tmp_path: Path) -> None:
    touch(*(tmp_path / split / "ant" / f"{split}.png" for split in ("train", "val", "test")))
    assert {split for *_, split in triples(imagefolder(tmp_path))} == {"train", "val", "test"}


def test_val_without_test_is_the_test_split(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "ant" / "1.png", tmp_path / "val" / "ant" / "2.png")
    assert triples(imagefolder(tmp_path)) == {("1.png", "ant", "train"), ("2.png", "ant", "test")}


def test_test_without_train_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "test" / "ant" / "1.png")
    with pytest.raises(UserError, match="no train/"):
        imagefolder(tmp_path)


def test_a_root_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder"):
        imagefolder(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_list_is_read_with_paths_relative_to_it(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame({"path": ["a.png"], "label": ["ant"], "split": ["validation"]})
    touch(tmp_path / "a.png")
    file = tmp_path / f"list{suffix}"
    table.to_csv(file, index=False) if suffix == ".csv" else table.to_parquet(file)
    found = image_list(file)
    assert list(found.iloc[0]) == [(tmp_path / "a.png").as_posix(), "ant", "val"]


def test_a_list_may_leave_the_split_out(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path,label\na.png,0\n")
    assert image_list(tmp_path / "list.csv")["split"].isna().all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path\na.png\n", "lacks the column label"),
        ("path,label,split\na.png,ant,dev\n", "must be train, val or test, got 'dev'"),
        ("path,label,split\na.png,ant,train\nb.png,ant,\n", "split is empty in 1 of 2 rows"),
        ("path,label\na.png,\n", "path or label is empty in row 2"),
        ("path,label\na.png,ant\nc.png,ant\n", "row 3 of .*list.csv: .*c.png is not there; mend or remove"),
        ("path,label\nc.png,ant\na.png,ant\nd.png,bee\n", "row 2 of .*c.png is not there \\(1 of 2 such rows\\)"),
        ("path,label\na.png,ant\na.png,bee\n", "a.png has the label 'ant' in row 2 and 'bee' in row 3"),
    ],
)
def test_a_bad_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    touch(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        image_list(tmp_path / "list.csv")
