"""A trained detector, loaded as a user does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from makd.errors import UserError
from makd.trained_detector import load_detector
from makd.trained_run import open_run
from tests.made_up_detection import write_detector


@pytest.fixture(params=[False, True], ids=["from scratch", "pretrained"])
def run(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `train_detector` leaves it; weights of a pretrained backbone must not be fetched once more."""
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *args, **kwargs: pytest.fail("a download"))
    write_detector(tmp_path, pretrained=request.param)
    return tmp_path


def test_it_finds_what_torchvisions_detector_finds(run: Path) -> None:
    detector = load_detector(run)
    stored = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    with torch.inference_mode():
        pixels = torch.from_numpy(np.array(stored).transpose(2, 0, 1)).float() / 255
        [expected] = detector.plain([pixels.to(detector.device)])
    found = detector.detect(stored, score_min=0.0)
    assert len(found) == len(expected["scores"]) > 0
    assert [one.score for one in found] == expected["scores"].tolist()
    assert [one.category for one in found] == [("auk", "owl")[label - 1] for label in expected["labels"]]
    assert [list(one.box) for one in found] == expected["boxes"].tolist()
    middle = found[len(found) // 2].score
    assert all(one.score >= middle for one in detector.detect(stored, score_min=middle))
    turned = stored.copy()
    turned.getexif()[0x0112] = 3
    upright = detector.detect(stored.rotate(180), score_min=0.0)
    assert detector.detect(turned, score_min=0.0) == upright


def test_loading_leaves_the_callers_random_numbers_alone(run: Path) -> None:
    before = torch.get_rng_state()
    load_detector(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_no_detector_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match="is that of a detector, which needs no export"):
        open_run(run)
    with pytest.raises(UserError, match=r"elsewhere cannot be read: .* give a folder that `train_detector` wrote"):
        load_detector(run / "elsewhere")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"categories": ["auk"]}))
    with pytest.raises(UserError, match=r"model\.safetensors is not of the detector in config\.json: .*size mismatch"):
        load_detector(run)
    (run / "config.json").write_text(json.dumps({"model": "resnet10t", "classes": []}))
    with pytest.raises(UserError, match=r"config\.json is not that of a detector: model: Input should be"):
        load_detector(run)
