import json
import math
from pathlib import Path
from typing import Any

import pytest

from makd.errors import UserError
from makd.shipped_config import crop_share, read_config


def test_timm_resizes_to_the_same_side() -> None:
    """By timm's formula, floor(image_px / crop_pct)."""
    for resize_px in range(1, 520):
        for image_px in {1, 64, 224, resize_px // 2, resize_px - 1, resize_px} - {0}:
            if 0 < image_px <= resize_px:
                assert math.floor(image_px / crop_share(image_px, resize_px)) == resize_px, (image_px, resize_px)


def write(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("makd"), r"\(makd: Field required\); give a folder that `makd export` wrote"),
        (lambda config: config["label_names"].pop(), "2 label_names, num_classes 3 and .* must be equal"),
        (lambda config: config["pretrained_cfg"].update(interpolation="bicubic"), "interpolation: .*'bilinear'"),
        (lambda config: config["pretrained_cfg"].update(input_size=[3, 32, 64]), "a square, got"),
        (lambda config: config["pretrained_cfg"].update(input_size=[1, 32, 32]), r"input_size\.0: Input should be 3"),
        (
            lambda config: config["pretrained_cfg"].update(input_size=[3, 0, 0]),
            r"input_size\.1: .* greater than or equal",
        ),
        (lambda config: config["pretrained_cfg"].update(input_size=[3, 10**5, 10**5]), r"input_size\.1: .* less than"),
        (lambda config: config["pretrained_cfg"].update(std=[0.2, 0.0, 0.2]), r"std\.1: .* greater than 0"),
        (lambda config: config["pretrained_cfg"].update(num_classes=2), r"pretrained_cfg\.num_classes 2 must be equal"),
        (lambda config: config["pretrained_cfg"].update(crop_pct=0.5), r"crop_pct 0\.5 must be 32 / "),
        (lambda config: config["pretrained_cfg"].update(crop_pct=0.86), r"crop_pct 0\.86 must be 32 / 37"),
        (lambda config: config["makd"].update(resize_px=10), "resize_px 10 must be at least 32"),
        (lambda config: config["makd"].update(resize_px=10**7), r"makd\.resize_px: .* less than"),
        (lambda config: config.update(label_names=["a", "b", "a"]), "label_names: name each of them once"),
    ],
)
def test_a_wrong_config_is_named_in_one_line(shipped: Path, tmp_path: Path, change: Any, message: str) -> None:
    config = json.loads((shipped / "config.json").read_text())
    change(config)
    with pytest.raises(UserError, match=message) as caught:
        read_config(write(tmp_path, config))
    assert "\n" not in str(caught.value)


def test_no_config_and_a_damaged_one_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json cannot be opened \(No such file"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json is no config of an exported student \(the whole: Invalid JSON"):
        read_config(tmp_path)


def test_what_others_add_is_left_to_them(shipped: Path, tmp_path: Path) -> None:
    config = json.loads((shipped / "config.json").read_text()) | {"transformers_version": "9"}
    config["pretrained_cfg"]["license"] = "mit"
    assert read_config(write(tmp_path, config)) == read_config(shipped)
