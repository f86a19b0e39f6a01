"""A dataset in COCO's format, with its traps, becomes tables; what is wrong is named before anything is asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from makd.errors import UserError
from makd.manifest import class_names, read_manifest
from makd.params import validate
from stages.prepare_detection import Params, check_params
from tests.made_up_detection import CATEGORIES, DETECTION, TABLES, detection_params, prepare, write_dataset

BLOCK = detection_params()["extract_logits"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_tables_hold_the_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    prepare()
    pictures, boxes, categories = (pd.read_parquet(f"{name}.parquet") for name in TABLES)
    assert list(categories["coco_id"]) == sorted(CATEGORIES), "gaps are closed in the order of the ids"
    assert list(categories["name"]) == ["auk", "owl", "zebra"]
    assert list(pictures["split"].value_counts().loc[["train", "test"]]) == [7, 5]
    turned = pictures[pictures["path"].str.endswith("sideways.png")]
    assert set(turned["orientation"]) == {6}
    assert (turned[["width", "height"]].to_numpy() == [96, 64]).all()
    assert list(pictures["orientation"]).count(1) == len(pictures) - 2
    assert boxes["crowd"].sum() == 2
    assert (boxes["width"] > 0).all()
    written = capsys.readouterr()
    assert "2 boxes have no area in their picture and are left out: " in written.err
    assert "set/train/sideways.png: [10, 10, 0, 5]" in written.err
    assert "train: 7 pictures (1 without a box), 8 boxes and 1 crowd regions of 3 of 3 categories" in written.out


def test_boxes_of_a_json_without_sizes_lie_in_upright_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset()
    for file in (Path("set/train.json"), Path("set/test.json")):
        content = json.loads(file.read_text())
        content["images"] = [{key: image[key] for key in ("id", "file_name")} for image in content["images"]]
        file.write_text(json.dumps(content))
    monkeypatch.setattr("tests.made_up_detection.write_dataset", lambda: None)
    prepare()
    pictures = pd.read_parquet("pictures.parquet").set_index("path")[["width", "height", "orientation"]]
    assert list(pictures.loc["set/train/sideways.png"]) == [64, 96, 1]
    assert list(pictures.loc["set/train/0.png"]) == [96, 64, 1]


def test_what_the_question_stages_read() -> None:
    prepare()
    manifest, shown = read_manifest(Path("manifest.parquet")), read_manifest(Path("shown.parquet"))
    by_name = manifest.assign(name=manifest["path"].str.split("/").str[-1]).set_index(["split", "name"])["class_name"]
    assert by_name["train", "grey.png"] == "no object"
    assert by_name["train", "sideways.png"] == "owl", "a crowd is no object"
    assert by_name["train", "0.png"] == "zebra"
    assert class_names(shown) == ["auk", "owl", "zebra"]
    pairs = shown.groupby(["split", "path"])["class_name"].agg(set)
    assert pairs["train", "set/train/1.png"] == {"auk", "zebra"}
    assert ("train", "set/train/grey.png") not in pairs


def test_equal_datasets_give_equal_bytes() -> None:
    first = {path: path.read_bytes() for path in prepare().values()}
    assert first == {path: path.read_bytes() for path in prepare().values()}


def change(key: str, entry: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[key][entry].update(values)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (change("annotations", 0, category_id=7), "set/train.json, annotations[0]: no such category_id as 7"),
        (change("annotations", 1, image_id=77), "set/train.json, annotations[1]: no such image_id as 77"),
        (change("annotations", 0, bbox=[1, 2, 3]), "annotations[0]: bbox must be four finite numbers"),
        (change("annotations", 0, bbox=[1, 2, float("nan"), 4]), "annotations[0]: bbox must be four finite numbers"),
        (lambda content: content["images"][0].pop("file_name"), "set/train.json, images[0] has no 'file_name'"),
        (lambda content: content["images"].append(content["images"][0]), "has the image id 0 twice; keep one"),
        (change("images", 0, width=50), "set/train/0.png (96 x 64, not 50 x 64)"),
        (change("categories", 0, name="yak"), "different categories, such as 'yak'"),
        (lambda content: content.pop("annotations"), "must be a JSON object with a list 'annotations'"),
        (lambda content: content["annotations"].clear(), "the train split has no box that counts"),
        (
            lambda content: content["annotations"].__delitem__(slice(1, None)),
            "the train split has 1 picture with boxes",
        ),
    ],
)
def test_a_mistake_in_the_json_is_named(
    mistake: Callable[[dict[str, Any]], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset()
    file = Path("set/train.json")
    content = json.loads(file.read_text())
    mistake(content)
    monkeypatch.setattr("tests.made_up_detection.write_dataset", lambda: file.write_text(json.dumps(content)))
    with pytest.raises(UserError) as error:
        prepare()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_pictures_are_named_and_left_out_with_their_boxes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset()
    Path("set/train/1.png").write_bytes(b"no picture")
    monkeypatch.setattr("tests.made_up_detection.write_dataset", lambda: None)
    prepare()
    assert "set/train/1.png: cannot be read as a picture" in capsys.readouterr().err
    boxes = pd.read_parquet("boxes.parquet")
    assert not len(boxes[(boxes["split"] == "train") & (boxes["coco_id"] == 1)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": -1}, "alpha"),
        ({"alfa": 1}, "alfa: no such param"),
        ({"models": ["resnet19"]}, "models.0"),
        ({"n_questions": 21}, "n_questions is 21"),
        ({"seeds": [0, 0]}, r"seeds: name each of them once, got \[0, 0\]"),
        ({"models": ["resnet18", "resnet18"]}, "models: name each of them once"),
        ({"extract_logits": BLOCK | {"backend": "class_llm"}}, "answers by class say little"),
        ({"extract_logits": BLOCK | {"zero_shot_splits": ["test"]}}, "leave extract_logits.zero_shot_splits empty"),
        ({"dataset": "coco", "prepare_detection": {"root": "x", "train": None, "test": None}}, "dataset coco needs"),
    ],
)
def test_bad_params_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(detection_params(**changes)))
    with pytest.raises(UserError, match=message) as error:
        check_params()
    assert "\n" not in str(error.value)


def test_crowds_alone_are_nothing_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset()
    content = json.loads(Path("set/train.json").read_text())
    for entry in content["annotations"][1:]:
        entry["iscrowd"] = 1
    Path("set/train.json").write_text(json.dumps(content))
    monkeypatch.setattr("tests.made_up_detection.write_dataset", lambda: None)
    with pytest.raises(UserError, match="the train split has 1 picture with boxes"):
        prepare()


def test_milestones_that_never_come_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    params = detection_params()
    params["train_detector"] |= {"iterations": 5, "milestones": [4, 5, 9]}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    check_params()
    assert "warning: train_detector.milestones [5, 9] never come within 5 iterations" in capsys.readouterr().err


def test_pretrained_weights_are_fetched_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr("stages.prepare_detection.fetch_weights", lambda model, recipe: fetched.append(model))
    params = detection_params(models=["resnet18", "resnet34"])
    for pretrained in (False, True):
        params["train_detector"] |= {"pretrained": pretrained}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        check_params()
    assert fetched == ["resnet18", "resnet34"]


def test_coco2017_is_trained_on_train2017_and_tested_on_val2017() -> None:
    known = {key: value for key, value in detection_params(dataset="coco2017").items() if key in Params.model_fields}
    parts = validate(Params, known).parts
    assert [(split, part.annotations.as_posix(), part.images.name) for split, part in parts.items()] == [
        ("train", "annotations/instances_train2017.json", "train2017"),
        ("test", "annotations/instances_val2017.json", "val2017"),
    ]


def test_pictures_that_stand_in_both_splits_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset()
    Path("set/test/1.png").write_bytes(Path("set/train/1.png").read_bytes())
    monkeypatch.setattr("tests.made_up_detection.write_dataset", lambda: None)
    prepare()
    said = "warning: 1 picture stands in both splits, which makes AP too good: set/test/1.png, set/train/1.png"
    assert said in capsys.readouterr().err


def test_a_folder_without_the_pictures_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    params = detection_params()
    params["prepare_detection"]["test"]["images"] = "elsewhere"
    with pytest.raises(UserError, match=r"none of the 5 pictures of the test split .* set/elsewhere; .*\.test"):
        prepare(params)


@pytest.mark.parametrize("preset", sorted(DETECTION.glob("presets/*.yaml")), ids=lambda path: path.stem)
def test_presets_are_valid(preset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.prepare_detection.fetch_weights", lambda *arguments: None)  # no network here
    check_params(preset)
