import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image

from makd.errors import UserError
from makd.given_answers import given_questions, read_given
from makd.manifest import read_manifest
from makd.pictures import image_id
from makd.runtime import Runtime
from stages.prepare_dataset import Params, check_params, check_students, prepare_dataset
from stages.train import Params as TrainParams

RUNTIME = Runtime(workers=0, progress=False)


def params(dataset: str, root: Path, **changed: Any) -> Params:
    block = {"root": root, "val_fraction": 0.2, "test_fraction": 0.25, "split_seed": 0}
    birds = {"train_per_class": 2, "val_per_class": 1, "test_per_class": 1, "image_px": 16}
    return Params.model_validate({"dataset": dataset, "prepare_dataset": block | {"birds": birds} | changed})


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), grey).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 20 different pictures, without splits."""
    for k in range(40):
        picture(tmp_path / "pictures" / ("ant" if k % 2 else "bee") / f"{k}.png", k)
    return tmp_path / "pictures"


def prepare(tmp_path: Path, chosen: Params) -> pd.DataFrame:
    prepare_dataset(chosen, RUNTIME, manifest=tmp_path / "manifest.parquet")
    return read_manifest(tmp_path / "manifest.parquet")


def test_birds_are_drawn_and_listed(tmp_path: Path) -> None:
    rows = prepare(tmp_path, params("birds", tmp_path / "birds"))
    assert rows["split"].value_counts().to_dict() == {"train": 40, "val": 20, "test": 20}
    assert rows["class_name"].nunique() == 20
    assert list(rows["image_id"]) == [image_id(Path(path).read_bytes()) for path in rows["path"]]


def test_a_folder_without_splits_is_split_by_class(tmp_path: Path, folder: Path) -> None:
    rows = prepare(tmp_path, params("imagefolder", folder))
    counts = rows.groupby("split")["class_name"].value_counts().to_dict()
    assert counts == {
        (split, name): n for split, n in {"test": 5, "val": 3, "train": 12}.items() for name in ("ant", "bee")
    }
    assert dict(zip(rows["class_name"], rows["label"], strict=True)) == {"ant": 0, "bee": 1}


def test_another_split_seed_splits_otherwise(tmp_path: Path, folder: Path) -> None:
    splits = [
        prepare(tmp_path, params("imagefolder", folder, split_seed=seed)).set_index("image_id")["split"]
        for seed in (0, 0, 7)
    ]
    assert splits[0].equals(splits[1])
    for split in ("val", "test"):
        one, other = (set(found.index[found == split]) for found in splits[1:])
        assert len(one) == len(other)
        assert one != other


def test_the_seed_cuts_val_where_the_test_split_is_given(tmp_path: Path, folder: Path) -> None:
    folder.rename(tmp_path / "train")
    for name in ("ant", "bee"):
        picture(tmp_path / "test" / name / "1.png", 200)
    val = []
    for seed in (0, 7):
        rows = prepare(tmp_path, params("imagefolder", tmp_path, split_seed=seed))
        val.append(set(rows.loc[rows["split"] == "val", "image_id"]))
    assert len(val[0]) == len(val[1]) == 8
    assert val[0] != val[1]


def test_val_is_not_what_a_larger_test_split_would_take(tmp_path: Path, folder: Path) -> None:
    """The cuts do not share their ranks."""
    rows = prepare(tmp_path, params("imagefolder", folder, test_fraction=0.25, val_fraction=0.2))
    both = set(rows.loc[rows["split"] != "train", "image_id"])
    more = prepare(tmp_path, params("imagefolder", folder, test_fraction=0.4, val_fraction=0.0))
    larger = set(more.loc[more["split"] == "test", "image_id"])
    assert set(rows.loc[rows["split"] == "test", "image_id"]) < larger
    assert len(both) == len(larger)
    assert both != larger


def test_labels_go_by_name_not_by_place(tmp_path: Path, folder: Path) -> None:
    lines = [f"{name}/{k}.png,{name}" for k in range(40) for name in (("bee", "ant")[k % 2],)]
    (folder / "list.csv").write_text("path,label\n" + "\n".join(lines))  # a bee comes first
    rows = prepare(tmp_path, params("list", folder / "list.csv"))
    assert dict(zip(rows["class_name"], rows["label"], strict=True)) == {"ant": 0, "bee": 1}


def test_the_same_images_give_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    prepare(tmp_path, params("imagefolder", folder))
    first = (tmp_path / "manifest.parquet").read_bytes()
    prepare(tmp_path, params("imagefolder", folder))
    assert (tmp_path / "manifest.parquet").read_bytes() == first


def test_a_changed_image_changes_the_manifest(tmp_path: Path, folder: Path) -> None:
    before = prepare(tmp_path, params("imagefolder", folder))
    picture(folder / "ant" / "1.png", 200)
    after = prepare(tmp_path, params("imagefolder", folder))
    assert set(before["image_id"]) != set(after["image_id"])


def test_an_unreadable_file_is_named_and_left_out(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ant" / "1.png").write_bytes(b"no picture")
    assert len(prepare(tmp_path, params("imagefolder", folder))) == 39
    assert capsys.readouterr().err == (
        "1 of 40 files cannot be read and is left out:\n"
        f"  {folder}/ant/1.png: cannot be read as a picture: its format is unknown\n"
    )


def test_files_of_which_none_can_be_read_are_refused(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=f"none of the 2 files can be read; the first: {tmp_path}/ant/1.png"):
        prepare(tmp_path, params("imagefolder", tmp_path))


def test_the_root_may_be_below_the_home_folder_and_other_images_need_no_birds(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    block = {"root": f"~/{folder.name}", "val_fraction": 0.2, "test_fraction": 0.25, "split_seed": 0}
    rows = prepare(tmp_path, Params.model_validate({"dataset": "imagefolder", "prepare_dataset": block}))
    assert len(rows) == 40
    assert rows["path"].str.startswith(str(folder)).all()


def test_copies_across_splits_and_classes_are_reported(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(4):
        picture(tmp_path / "split" / "train" / ("ant" if k % 2 else "bee") / f"{k}.png", k)
        picture(tmp_path / "split" / "test" / "ant" / f"{k}.png", k)
    prepare(tmp_path, params("imagefolder", tmp_path / "split", val_fraction=0.0))
    said = capsys.readouterr().err
    assert "4 pictures stand in more than one split" in said
    assert "2 pictures stand under more than one class" in said


def test_a_list_is_taken_as_it_is(tmp_path: Path, folder: Path) -> None:
    lines = [
        f"{'ant' if k % 2 else 'bee'}/{k}.png,{'ant' if k % 2 else 'bee'},{'test' if k > 30 else 'train'}"
        for k in range(40)
    ]
    (folder / "list.csv").write_text("path,label,split\n" + "\n".join(lines))
    rows = prepare(tmp_path, params("list", folder / "list.csv"))
    assert (rows["split"] == "test").sum() == 9


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "no image in"),
        (["1.png", "2.png"], "2 images lie directly in .*few; expected a folder a class"),
        (["train/1.png", "test/2.png"], "1 image lies directly in .*few/train; expected a folder a class"),
        (["a/1.png", "a/2.png"], "two classes or more"),
        (["train/a/1.png", "test/a/2.png", "test/b/3.png"], "no training image of b"),
    ],
)
def test_a_folder_that_cannot_train_a_classifier_is_refused(tmp_path: Path, files: list[str], said: str) -> None:
    (tmp_path / "few").mkdir()
    for k, file in enumerate(files):
        picture(tmp_path / "few" / file, k)
    with pytest.raises(UserError, match=said):
        prepare(tmp_path, params("imagefolder", tmp_path / "few"))


def changed_params(tmp_path: Path, **changed: Any) -> Path:
    values = yaml.safe_load(Path("params.yaml").read_text())
    for key, value in changed.items():
        block, _, name = key.rpartition("__")
        (values[block] if block else values)[name] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("alpha", "ten", "alpha: .*got 'ten'"),
        ("alpha", -1, "alpha: .*greater than or equal to 0"),
        ("train__epoch", 3, r"train\.epoch: no such param"),
        ("train__epochs", 0, r"train\.epochs: "),
        ("aspect_loss", "mse", "aspect_loss: .*'bce' or 'kl'"),
        ("dataset", "imagenet", "dataset: "),
        ("alfa", 3, "alfa: no such param; mend it, or `git checkout HEAD -- "),
        ("seeds", [], "seeds: "),
        ("seeds", [0, 0], "seeds: "),
        ("models", [], "models: "),
        ("llm__backend", "gpt", r"llm\.backend: "),
        ("extract_logits__dtype", "int8", r"extract_logits\.dtype: "),
        ("extract_logits__splits", ["test"], r"extract_logits\.splits: .*add train"),
        (
            "extract_logits__backend",
            "table",
            r"extract_logits\.table: .*backend table needs a file of answers, got None",
        ),
        ("extract_logits__images_per_class", 0, r"extract_logits\.images_per_class: .*greater than or equal to 1"),
        ("n_questions", 61, "n_questions is 61, but generate_questions.n_candidates is 60.*`git checkout HEAD -- "),
        ("runtime__workers", -1, r"runtime\.workers: "),
        ("seeds", [1.0], r"seeds\.0: "),
        ("seeds", [True], r"seeds\.0: "),
        ("alpha", True, "alpha: "),
        ("n_questions", True, "n_questions: "),
        ("train__model_args", {"resnet10": {"stem_width": 16}}, r"train\.model_args: timm has no model .resnet10."),
        ("models", ["resnet81"], "resnet81.*resnet18"),
        ("models", ["vit_tiny_patch16_224"], "vit_tiny_patch16_224 cannot take pictures of 64 x 64: .*train.image_px"),
        ("train__model_args", {"resnet10t": {"stem": 8}}, r"train\.model_args\.resnet10t: .*stem"),
    ],
)
def test_a_bad_value_of_any_stage_fails_in_the_first(tmp_path: Path, key: str, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check_params(changed_params(tmp_path, **{key: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "key", "value", "said"),
    [
        (
            "class_llm",
            "images_per_class",
            5,
            r"extract_logits\.images_per_class: .*about classes, not images: give null",
        ),
        ("class_llm", "zero_shot_splits", ["test"], r"extract_logits\.zero_shot_splits: .*class_llm looks at no image"),
        ("table", "zero_shot_splits", ["test"], r"extract_logits\.zero_shot_splits: .*table looks at no image"),
    ],
)
def test_what_a_back_end_cannot_do_is_refused(tmp_path: Path, backend: str, key: str, value: Any, said: str) -> None:
    block = {"backend": backend, "table": "my.csv", key: value}
    with pytest.raises(UserError, match=said):
        check_params(changed_params(tmp_path, **{f"extract_logits__{name}": chosen for name, chosen in block.items()}))


def test_with_a_table_the_number_of_candidates_does_not_matter(tmp_path: Path) -> None:
    block = {"extract_logits__backend": "table", "extract_logits__table": "my.csv"}
    check_params(changed_params(tmp_path, n_questions=61, **block))


def give(tmp_path: Path, chosen: Params, **changed: Any) -> pd.DataFrame:
    """The answers that the stage writes, with a table of `my.csv`."""
    block = yaml.safe_load(Path("params.yaml").read_text())["extract_logits"]
    block |= {"backend": "table", "table": str(tmp_path / "my.csv")} | changed
    both = Params.model_validate(chosen.model_dump() | {"extract_logits": block})
    places = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "given_answers")}
    prepare_dataset(both, RUNTIME, **places)
    return read_given(places["given_answers"], given_questions(places["given_answers"]))


def test_own_answers_are_written_by_image_and_a_change_in_them_is_seen(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.csv").write_text("path,Is it an ant?\nant/1.png,1\nbee/2.png,0\nbee/4.png,\n")
    given = give(tmp_path, params("imagefolder", folder))
    assert given["Is it an ant?"].tolist().count(1) == given["Is it an ant?"].tolist().count(0) == 1
    said = capsys.readouterr().out
    assert "my.csv: 1 questions; 38 of 40 images have no answers" in said
    assert "no answers for any image" not in said
    first = (tmp_path / "given_answers.parquet").read_bytes()
    give(tmp_path, params("imagefolder", folder))
    assert (tmp_path / "given_answers.parquet").read_bytes() == first
    (tmp_path / "my.csv").write_text("class_name,Is it an ant?\nant,1\nbee,0.5\n")
    assert give(tmp_path, params("imagefolder", folder))["Is it an ant?"].to_dict() == {"ant": 1, "bee": 0.5}
    assert "0 of 40 images have no answers" in capsys.readouterr().out
    (tmp_path / "my.csv").write_text("class_name,Is it an ant?\nant,1\n")
    give(tmp_path, params("imagefolder", folder))
    assert "my.csv: no answers for any image of bee\n" in capsys.readouterr().out


def test_relative_paths_of_answers_to_a_list_start_from_its_folder(tmp_path: Path, folder: Path) -> None:
    rows = "".join(f"pictures/{path.parent.name}/{path.name},{path.parent.name}\n" for path in folder.glob("*/*.png"))
    (tmp_path / "list.csv").write_text(f"path,label\n{rows}")
    (tmp_path / "my.csv").write_text("path,Is it an ant?\npictures/ant/1.png,1\n")
    assert len(give(tmp_path, params("list", tmp_path / "list.csv"))) == 1


def test_answers_about_a_file_that_cannot_be_read_are_left_out_with_it(tmp_path: Path, folder: Path) -> None:
    (folder / "ant" / "broken.png").write_text("no picture")
    (tmp_path / "my.csv").write_text("path,Is it an ant?\nant/broken.png,1\nant/1.png,1\n")
    assert len(give(tmp_path, params("imagefolder", folder))) == 1


def test_where_another_back_end_answers_no_answers_are_given(tmp_path: Path, folder: Path) -> None:
    assert give(tmp_path, params("imagefolder", folder), backend="transformers").shape == (0, 0)


def test_arguments_of_a_student_that_is_not_trained_may_stay() -> None:
    recipe = TrainParams.load().train.model_copy(update={"model_args": {"resnet18": {"stem_width": 16}}})
    check_students(["resnet10t"], recipe)
    check_students(["resnet10t"], recipe)  # remembered


def test_a_student_that_could_be_built_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = TrainParams.load().train

    def build(name: str, *_: object, **__: object) -> None:
        raise UserError(f"{name} is built")

    check_students(["resnet10t"], recipe)
    monkeypatch.setattr("makd.students.build_student", build)
    check_students(["resnet10t"], recipe)
    others: list[dict[str, object]] = [{"image_px": 32}, {"pretrained": True}, {"model_args": {}}]
    for changes in others:
        with pytest.raises(UserError, match="resnet10t is built"):
            check_students(["resnet10t"], recipe.model_copy(update=changes))
    with pytest.raises(UserError, match="resnet18 is built"):
        check_students(["resnet10t", "resnet18"], recipe)


def test_pretrained_weights_that_nobody_has_are_refused_before_anything_is_asked() -> None:
    recipe = TrainParams.load().train.model_copy(update={"pretrained": True})
    with pytest.raises(UserError, match=r"train\.pretrained: no weights for vovnet39a"):
        check_students(["vovnet39a"], recipe)


@pytest.mark.parametrize("junk", [b"", b"{", b"[[1], 2]", b"{}"])
def test_a_damaged_memo_of_students_is_made_anew(own_cache: Path, junk: bytes) -> None:
    (own_cache / "students.json").write_bytes(junk)
    check_params()
    assert json.loads((own_cache / "students.json").read_text())
