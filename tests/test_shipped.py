"""A folder of `makd export` that is damaged, or put together from two."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from makd.errors import UserError
from makd.shipped import Format, load_shipped


@pytest.fixture
def out(shipped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped, tmp_path / "out"))


def change_config(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("class_means"), r"class_means must be of \(3, 3\), as config.json says, got none"),
        (
            lambda found: found.update(class_means=torch.zeros(3, 2)),
            r"class_means must be of \(3, 3\), .* got \(3, 2\)",
        ),
        (lambda found: found.update(weight=torch.zeros(2, 512)), r"weight must be of \(3,\), .* got \(2,\)"),
        (lambda found: found.update(weight=torch.zeros(3, 5)), "the weights in .* are not those of its config.json"),
        (lambda found: found["class_means"].fill_(torch.nan), "class_means holds what is no number"),
    ],
)
def test_damaged_aspects_are_named(out: Path, change: Any, message: str) -> None:
    found = {name: tensor.clone() for name, tensor in load_file(out / "aspects.safetensors").items()}
    change(found)
    save_file(found, out / "aspects.safetensors")
    with pytest.raises(UserError, match=message):
        load_shipped(out)


def test_weights_that_are_no_numbers_are_named(out: Path) -> None:
    found = load_file(out / "model.safetensors")
    found["fc.bias"][1] = torch.inf
    save_file(found, out / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"model\.safetensors: fc\.bias holds what is no number"):
        load_shipped(out)


def test_a_config_that_is_not_of_the_weights_is_named_in_a_short_line(out: Path) -> None:
    change_config(out, architecture="resnet18")
    with pytest.raises(UserError, match=r"are not those of its config\.json: .*; export anew") as error:
        load_shipped(out)
    assert len(str(error.value)) < 400
    change_config(out, architecture="resnet999")
    with pytest.raises(UserError, match=r"config\.json: architecture or model_args: .*timm has no model 'resnet999'"):
        load_shipped(out)


def test_a_graph_of_other_outputs_or_pictures_than_the_config_says_is_refused(
    graphs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(graphs, tmp_path / "out"))
    config = json.loads((out / "config.json").read_text())
    smaller = {"input_size": [3, 16, 16], "crop_pct": 16 / config["makd"]["resize_px"]}
    formats: tuple[Format, ...] = ("onnx", "pt2")
    for name in formats:
        change_config(out, **config | {"makd": config["makd"] | {"questions": []}})
        with pytest.raises(
            UserError, match=r"gives 6 outputs a picture, but config\.json has 3 classes and 0 questions"
        ):
            load_shipped(out, name)
        change_config(out, **config | {"pretrained_cfg": config["pretrained_cfg"] | smaller})
        with pytest.raises(UserError, match=r"does not take the pictures of 16 px of config\.json") as error:
            load_shipped(out, name)
        assert "\n" not in str(error.value)
    capfd.readouterr()
    (out / "model.pt2").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"model\.pt2 cannot be read"):
        load_shipped(out, "pt2")
    assert capfd.readouterr().err == ""
