import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save

from makd.costs import flops, parameters
from makd.errors import UserError
from makd.evidence import class_answer_means
from makd.export import export
from makd.manifest import read_manifest, write_manifest
from makd.pictures import to_rgb, upright
from makd.predict import predict
from makd.preprocessing import student_pixels
from makd.shipped import FILES, Format, load_shipped
from makd.shipped_config import read_config
from makd.students import load_student, split_logits
from tests.trained_project import CLASSES, QUESTIONS, TrainedProject, train_students

FORMATS: tuple[Format, ...] = ("safetensors", "onnx", "pt2")


def probabilities(folder: Path, rows: pd.DataFrame, format: Format) -> tuple[np.ndarray, np.ndarray]:
    found = list(predict(folder, list(rows["path"]), format=format))
    assert [str(one.path) for one in found] == list(rows["path"])
    return np.array([one.probabilities for one in found]), np.array([one.p_yes for one in found])


def assert_predicts_as_the_run(folder: Path, project: TrainedProject, model: str, format: Format) -> None:
    rows = project.predictions(model=model)
    classes, aspects = probabilities(folder, rows, format)
    np.testing.assert_allclose(classes, rows[[f"class: {name}" for name in CLASSES]], atol=1e-5, rtol=0)
    if read_config(folder).questions:
        np.testing.assert_allclose(aspects, rows[[f"aspect: {text}" for text in QUESTIONS]], atol=1e-5, rtol=0)
    else:
        assert aspects.shape[1] == 0


def copied_run(run: Path, to: Path, **changes: Any) -> Path:
    """Its weights and its config, with changes; no predictions."""
    to.mkdir()
    config = json.loads((run / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(config))
    shutil.copy(run / "model.safetensors", to)
    return to


def plain_timm(folder: Path) -> torch.nn.Module:
    model: torch.nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return model.eval()


@pytest.fixture(scope="module")
def plain(trained: TrainedProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(trained.run(), tmp_path_factory.mktemp("plain") / "out", data=trained.data)


def test_what_is_predicted_is_what_the_run_predicted(plain: Path, shipped: Path, trained: TrainedProject) -> None:
    for folder in (plain, shipped):
        assert_predicts_as_the_run(folder, trained, "resnet10t", "safetensors")


def test_the_graphs_predict_what_the_run_predicted(trained: TrainedProject, graphs: Path) -> None:
    """The smallest student stands for all here; the slow test has the rest."""
    assert sorted(path.name for path in graphs.iterdir()) == [
        *("README.md", "aspects.safetensors", "config.json", "model.onnx", "model.pt2")
    ]
    for format in ("onnx", "pt2"):
        assert_predicts_as_the_run(graphs, trained, "resnet10t", format)
        one = load_shipped(graphs, format).pixels([Image.new("RGB", (50, 40))])
        assert load_shipped(graphs, format).logits(one).shape == (1, len(CLASSES) + len(QUESTIONS))  # any batch
        assert (graphs / "README.md").read_text().count(f"- `{FILES[format]}`: the logits differ") == 1
    with pytest.raises(UserError, match=r"has no model\.safetensors; export it"):
        load_shipped(graphs, "safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet18", "resnet34", "mobilenetv1_100", "efficientnet_b0"])
def test_each_student_of_the_presets_ships_in_every_format(model: str, tmp_path: Path) -> None:
    project = train_students(tmp_path / "project", model)
    for aspects in (False, True):
        folder = export(
            project.run(model=model), tmp_path / f"{aspects}", aspects=aspects, formats=FORMATS, data=project.data
        )
        for format in FORMATS:
            assert_predicts_as_the_run(folder, project, model, format)
        baseline, _ = load_student(project.run("baseline", model))
        loaded = plain_timm(folder)
        assert (parameters(loaded), flops(loaded, 32)) == (parameters(baseline), flops(baseline, 32))


def test_timm_loads_the_class_student_alone(shipped: Path, plain: Path, trained: TrainedProject) -> None:
    student, run_config = load_student(trained.run())
    baseline, _ = load_student(trained.run("baseline"))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for folder in (plain, shipped):
        loaded = plain_timm(folder)
        with torch.inference_mode():
            expected = split_logits(student(images), len(CLASSES))[0]
            torch.testing.assert_close(loaded(images), expected, atol=1e-6, rtol=0)
        assert {name: value.shape for name, value in loaded.state_dict().items()} == {
            name: value.shape for name, value in baseline.state_dict().items()
        }
        assert (parameters(loaded), flops(loaded, 32)) == (parameters(baseline), flops(baseline, 32))
        cfg = loaded.pretrained_cfg
        assert isinstance(cfg, dict)
        assert (cfg["num_classes"], cfg["label_names"], cfg["classifier"]) == (3, CLASSES, "fc")
        assert (cfg["mean"], cfg["std"]) == (run_config["mean"], run_config["std"])
        assert (cfg["input_size"], cfg["interpolation"], cfg["crop_mode"]) == ([3, 32, 32], "bilinear", "center")
        assert not {"license", "tag", "url", "hf_hub_id", "origin_url"} & set(cfg), "of weights that are not these"


def test_timm_preprocesses_as_the_evaluation_does(plain: Path, trained: TrainedProject) -> None:
    config = read_config(plain)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=plain_timm(plain)))
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (config.pretrained_cfg.mean, config.pretrained_cfg.std)
    )
    for path in trained.predictions()["path"]:
        picture = Image.open(path)
        pixels = (transform(to_rgb(upright(picture))) * std + mean) * 255
        np.testing.assert_allclose(pixels, student_pixels(picture, config), atol=1e-3)


def test_timm_resizes_to_the_side_that_the_run_had(trained: TrainedProject, tmp_path: Path) -> None:
    """25 / (25 / 44) is a little less than 44, and timm cuts off what is behind the point."""
    folder = export(copied_run(trained.run(), tmp_path / "run", image_px=25, resize_px=44), tmp_path / "out")
    assert math.floor(25 / read_config(folder).pretrained_cfg.crop_pct) == 44


def test_hugging_face_loads_it(plain: Path) -> None:
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(plain).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model(images).logits, plain_timm(plain)(images), atol=1e-6, rtol=0)
    assert model.config.id2label == dict(enumerate(CLASSES))


def test_the_class_means_are_those_of_the_training_split(shipped: Path, trained: TrainedProject) -> None:
    manifest = read_manifest(trained.data / "manifest.parquet")
    training = manifest["split"] == "train"
    answers = pd.read_parquet(trained.data / "aspects.parquet").set_index("image_id")
    p_yes = answers.loc[manifest.loc[training, "image_id"], QUESTIONS].to_numpy()
    expected = class_answer_means(p_yes, manifest.loc[training, "label"].to_numpy(), len(CLASSES))
    found = load_shipped(shipped).class_means
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_class_means_of_other_images_or_questions_are_not_shipped(trained: TrainedProject, tmp_path: Path) -> None:
    manifest = read_manifest(trained.data / "manifest.parquet")
    answers = pd.read_parquet(trained.data / "aspects.parquet")
    other_order = answers.rename(columns=dict(zip(QUESTIONS, QUESTIONS[::-1], strict=True)))
    for name, images, table in (("images", manifest.iloc[:-1], answers), ("questions", manifest, other_order)):
        data = tmp_path / name
        data.mkdir()
        write_manifest(images, data / "manifest.parquet")
        table.to_parquet(data / "aspects.parquet")
        with pytest.raises(UserError, match="has other images or questions than"):
            export(trained.run(), tmp_path / "out", aspects=True, data=data)
    assert not (tmp_path / "out").exists()


def test_what_differs_from_the_run_is_not_shipped(
    trained: TrainedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
        return save({name: tensor + 1 for name, tensor in tensors.items()}, metadata)

    monkeypatch.setattr("makd.export.save", damaged)
    with pytest.raises(UserError, match=r"the logits of model\.safetensors differ from the run's by"):
        export(trained.run(), tmp_path / "out", data=trained.data)
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_is_known(plain: Path, shipped: Path, trained: TrainedProject) -> None:
    baseline, _ = load_student(trained.run("baseline"))
    for folder, has_aspects in ((plain, False), (shipped, True)):
        card = (folder / "README.md").read_text()
        assert f"| parameters | {parameters(baseline):,} |" in card
        assert f"| FLOPs an image | {flops(baseline, 32):,} (" in card
        for text in (
            "12 train, 6 val, 18 test images",
            "`birds`",
            "`data/tiny_vlm`",
            "written by `an author`",
            *QUESTIONS,
        ):
            assert text in card
        assert re.search(r"\| test \| 18 \| \d+\.\d\d \| \d+\.\d\d to \d+\.\d\d \|", card)
        assert re.search(r"The baseline of the same seed, without aspects, has \d+\.\d\d % on test", card)
        assert "differ from those of the run's student by at most 0, on 18 test images" in card
        assert ("not part of this export" in card) == (not has_aspects)
        assert json.loads(re.search(r"```json\n(.*?)```", card, re.DOTALL)[1])["alpha"] == 4.0  # type: ignore[index]


def test_the_card_invents_nothing(trained: TrainedProject, tmp_path: Path) -> None:
    bare = copied_run(trained.run(), tmp_path / "run")
    card = (export(bare, tmp_path / "out", data=tmp_path / "data") / "README.md").read_text()
    assert "Absent: the run has no predictions.parquet." in card
    assert "Data: absent." in card
    assert "who wrote them is absent" in card
    assert "Teacher of the aspects: absent" in card
    assert "random pixels (no test images were at hand)" in card
    assert "birds" not in card


def test_the_card_of_a_control_says_so(trained: TrainedProject, tmp_path: Path) -> None:
    params = json.loads((trained.run() / "config.json").read_text())["params"] | {"aspect_targets": "shuffled"}
    run = copied_run(trained.run(), tmp_path / "run", params=params)
    assert "**a control**, `shuffled` answers" in (export(run, tmp_path / "out") / "README.md").read_text()


def test_an_earlier_export_is_replaced_and_nothing_else_ever(trained: TrainedProject, tmp_path: Path) -> None:
    run, out = trained.run("baseline"), tmp_path / "out"
    export(run, out)
    (out / "model.onnx").touch()
    export(run, out)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").touch()
    for place in (thesis, run, thesis / "chapter.tex"):
        with pytest.raises(UserError, match="is there and is no earlier export; give a new folder"):
            export(run, place)
    assert (thesis / "chapter.tex").exists()
    assert (run / "predictions.parquet").exists()


def test_a_folder_of_another_model_and_files_of_yours_are_left_alone(trained: TrainedProject, tmp_path: Path) -> None:
    other = tmp_path / "bert"
    other.mkdir()
    for name, text in {"config.json": '{"model_type": "bert"}', "README.md": "x", "pytorch_model.bin": "x"}.items():
        (other / name).write_text(text)
    with pytest.raises(UserError, match="is no earlier export"):
        export(trained.run(), other, data=trained.data)
    assert len(list(other.iterdir())) == 3
    mine = export(trained.run(), tmp_path / "mine", data=trained.data)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"earlier export, but notes\.txt is not of it and would go"):
        export(trained.run(), mine, data=trained.data)
    assert (mine / "notes.txt").read_text() == "mine"


def test_the_card_names_only_files_that_are_there(trained: TrainedProject, tmp_path: Path) -> None:
    card = (
        export(trained.run(), tmp_path / "out", aspects=True, formats=("pt2",), data=trained.data) / "README.md"
    ).read_text()
    assert "safetensors" not in card.replace("aspects.safetensors", "")
    assert "timm.create_model" not in card
    assert "makd predict this/folder" in card


def test_bad_input_is_one_line(trained: TrainedProject, shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json cannot be opened .*; give a folder that `train` wrote"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="arm baseline, which has no aspects; export it without --aspects"):
        export(trained.run("baseline"), tmp_path / "out", aspects=True)
    with pytest.raises(UserError, match=r"format must be of safetensors, onnx, pt2, got none"):
        export(trained.run(), tmp_path / "out", formats=())
    with pytest.raises(UserError, match=r"is not that of a run: .*arm.* missing or wrong"):
        export(shipped, tmp_path / "out")
    with pytest.raises(UserError, match=r"manifest\.parquet cannot be read"):
        export(trained.run(), tmp_path / "out", aspects=True, data=tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((trained.run() / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be loaded"):
        export(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_format_has_a_file() -> None:
    assert tuple(FILES) == FORMATS
