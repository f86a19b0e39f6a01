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


@pytest.mark.parametrize("val", ["val", "Valid", "validation", "VALIDATION"])
def test_split_folders_are_known_by_their_usual_names_in_any_case(tmp_path: Path, val: str) -> None:
    touch(*(tmp_path / name / "ant" / f"{name}.png" for name in ("Train", val, "TEST")))
    assert triples(imagefolder(tmp_path)) == {
        ("Train.png", "ant", "train"),
        (f"{val}.png", "ant", "val"),
        ("TEST.png", "ant", "test"),
    }


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    touch(*(tmp_path / name / "ant" / "1.png" for name in ("train", "val", "valid")))
    with pytest.raises(UserError, match="has val/ and valid/, both val; keep one"):
        imagefolder(tmp_path)


def test_folders_beside_the_splits_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(*(tmp_path / name / "ant" / f"{name}.png" for name in ("train", "test", "extra", "unlabelled", ".cache")))
    assert {split for *_, split in triples(imagefolder(tmp_path))} == {"train", "test"}
    said = capsys.readouterr().err
    assert "beside test and train/" in said
    assert said.endswith("are left unused: extra, unlabelled\n")


def test_class_folders_alone_leave_nothing_unused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path / "ant" / "1.png", tmp_path / "bee" / "2.png")
    imagefolder(tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("label", ["NA", "null", "None", "007", "1e5", "1.0", "True", "nan"])
def test_a_label_is_the_text_that_stands_there(tmp_path: Path, label: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "list.csv").write_text(f"path,label\na.png,{label}\n")
    assert list(image_list(tmp_path / "list.csv")["class_name"]) == [label]


@pytest.mark.parametrize(
    "text", ["path, label , split\n a.png , ant, Valid \n\n", "\ufeffpath,label,split\r\na.png,ant,val\r\n"]
)
def test_spaces_blank_lines_and_marks_of_editors_do_not_matter(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "list.csv").write_text(text, encoding="utf-8", newline="")
    assert list(image_list(tmp_path / "list.csv").iloc[0]) == [(tmp_path / "a.png").as_posix(), "ant", "val"]


def test_labels_of_a_parquet_are_their_texts(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    pd.DataFrame({"path": ["a.png", "b.png"], "label": [3, 4], "size": [1.0, None]}).to_parquet(tmp_path / "l.parquet")
    assert list(image_list(tmp_path / "l.parquet")["class_name"]) == ["3", "4"]
    pd.DataFrame({"path": ["a.png", "b.png"], "label": ["NA", None]}).to_parquet(tmp_path / "l.parquet")
    with pytest.raises(UserError, match="path or label is empty in row 3"):
        image_list(tmp_path / "l.parquet")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list.csv", b"", "is empty; a `list` needs a header"),
        ("list.csv", b"\n\n", "is empty; a `list` needs a header"),
        ("list.csv", "path,label\na.png,Häher\n".encode("latin-1"), "must be UTF-8, but byte 18 is not"),
        ("list.csv", b"path,label\na.png,ant\nb.png,bee,test\n", "line 3: 3 cells, but the header has 2"),
        ("list.csv", b"path,label,split\na.png,ant\n", "line 2: 2 cells, but the header has 3"),
        ("list.csv", b"path,label\na.png, \n", "path or label is empty in row 2"),
        ("list.csv", b'path,label\n"a.png,ant\n', "line 2: 1 cells"),
        ("list.csv", b"path,label,label\na.png,ant,bee\n", "names the column label twice"),
        ("list.parquet", b"", "cannot be read as Parquet"),
        ("list.parquet", b"junk that is long enough to be looked at", "cannot be read as Parquet"),
    ],
)
def test_a_list_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}.*{said}") as caught:
        image_list(tmp_path / name)
    assert "\n" not in str(caught.value)
