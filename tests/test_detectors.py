"""The detector is torchvision's; the aspect head looks on."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import FrozenBatchNorm2d

from makd.detection_recipe import AspectFeatures, DetectorName, DetectorRecipe
from makd.detectors import Detected, Trained, averages, backbone_of, build_detector, build_plain, plain_state
from makd.errors import UserError
from makd.params import read_params, validate
from tests.made_up_detection import DETECTION, MODEL, recipe


def batch() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(3, 64, 96, generator=generator), torch.rand(3, 64, 64, generator=generator)]
    boxes = [torch.tensor([[5.0, 5.0, 40.0, 40.0]]), torch.zeros(0, 4)]
    labels = [torch.tensor([2]), torch.zeros(0, dtype=torch.int64)]
    return pictures, [{"boxes": box, "labels": label} for box, label in zip(boxes, labels, strict=True)]


@pytest.mark.parametrize("features", ["c5", "fpn"])
def test_losses_and_detections_are_torchvisions_bit_for_bit(features: AspectFeatures) -> None:
    detector = build_detector(MODEL, 3, 4, recipe(), seed=0, features=features)
    pictures, targets = batch()
    torch.manual_seed(1)
    plain = detector.plain(pictures, targets)
    torch.manual_seed(1)
    ours = detector(pictures, targets)
    assert isinstance(ours, Trained)
    assert list(ours.losses) == list(plain)
    assert all(torch.equal(ours.losses[name], plain[name]) for name in plain)
    assert ours.aspect_logits.shape == (2, 4)
    detector.eval()
    found = detector(pictures)
    assert isinstance(found, Detected)
    for one, expected in zip(found.detections, detector.plain(pictures), strict=True):
        assert all(torch.equal(one[name], expected[name]) for name in expected)


def test_it_has_the_weights_of_torchvisions_own_function() -> None:
    preset = read_params(DETECTION / "presets/coco2017.yaml")["train_detector"]
    whole = validate(DetectorRecipe, preset | {"pretrained": False})
    torch.manual_seed(3)
    expected = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81).state_dict()
    torch.manual_seed(3)
    found = build_plain("resnet50", 80, whole).state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_what_ships_has_the_parameters_of_the_plain_detector() -> None:
    baseline, makd = (build_detector(MODEL, 3, n_aspects, recipe(), seed=0) for n_aspects in (0, 4))
    assert list(plain_state(makd)) == list(plain_state(baseline))
    assert all(torch.equal(plain_state(makd)[name], values) for name, values in plain_state(baseline).items())
    extra = sum(p.numel() for p in makd.parameters()) - sum(p.numel() for p in baseline.parameters())
    assert makd.aspect_head is not None
    assert extra == sum(p.numel() for p in makd.aspect_head.parameters())


@pytest.mark.parametrize(
    ("name", "anchors"),
    [
        ("resnet18", ((16,), (24,), (32,), (48,), (64,))),
        (MODEL, ((16, 24, 32, 48, 64),) * 3),
    ],
)
def test_every_param_reaches_its_place(name: DetectorName, anchors: tuple[tuple[int, ...], ...]) -> None:
    sizes = {"short_px": [48, 64], "long_px": 97, "fpn_channels": 9, "head_channels": 17}
    counts = {"proposals_train": 21, "proposals_test": 22, "rpn_samples": 23, "box_samples": 24}
    plain = build_plain(name, 3, recipe(**sizes, **counts))
    assert plain.rpn.anchor_generator.sizes == anchors
    assert (plain.transform.min_size, plain.transform.max_size) == ((48, 64), 97)
    assert (plain.backbone.out_channels, plain.roi_heads.box_head.fc6.out_features) == (9, 17)
    for training, proposals in ((True, 21), (False, 22)):
        plain.train(training)
        assert (plain.rpn.pre_nms_top_n(), plain.rpn.post_nms_top_n()) == (proposals, proposals)
    assert plain.rpn.fg_bg_sampler.batch_size_per_image == 23
    assert plain.roi_heads.fg_bg_sampler.batch_size_per_image == 24


@pytest.mark.parametrize(
    ("name", "trainable", "expected"),
    [("resnet18", 3, 3), ("resnet18", 5, 5), (MODEL, 3, 3), (MODEL, 5, 6)],
)
def test_a_pretrained_backbone_is_frozen_as_in_torchvision(
    name: DetectorName, trainable: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def offline(**arguments: Any) -> None:
        asked.update(arguments)
        raise OSError("no network")

    for function in ("resnet_fpn_backbone", "mobilenet_backbone"):
        monkeypatch.setattr(f"makd.detectors.{function}", offline)
    with pytest.raises(UserError, match=f"pretrained: no weights for {name}: no network; set it to false"):
        build_plain(name, 3, recipe(pretrained=True, trainable_layers=trainable))
    assert asked["weights"] == "IMAGENET1K_V1"
    assert asked["norm_layer"] is FrozenBatchNorm2d
    assert asked["trainable_layers"] == expected


@pytest.mark.parametrize("features", ["c5", "fpn"])
def test_aspects_are_seen_in_the_features_asked_for(features: AspectFeatures) -> None:
    detector = build_detector(MODEL, 3, 4, recipe(), seed=0, features=features)
    pictures, targets = (part[:1] for part in batch())  # of a size that is neither changed nor padded
    maps = backbone_of(detector.plain).body(detector.plain.transform(pictures)[0].tensors)
    pyramid = backbone_of(detector.plain).fpn(maps)
    assert list(maps) == ["0", "1"]
    seen = [maps["1"]] if features == "c5" else [pyramid["0"], pyramid["1"]]
    assert detector.aspect_head is not None
    expected = detector.aspect_head(torch.cat([level.mean(dim=(2, 3)) for level in seen], dim=1))
    torch.testing.assert_close(detector(pictures, targets).aspect_logits, expected)


def test_padding_does_not_count_in_the_averages() -> None:
    level = torch.zeros(2, 1, 4, 6)
    level[0] = 1.0
    level[1, :, :, :4] = 3.0  # the second picture is 64 pixels wide, the batch 96
    found = averages(level, [(64, 96), (64, 64)], torch.Size([2, 3, 64, 96]))
    assert found.tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "mobilenet_v3_large"])
def test_every_backbone_trains(name: DetectorName) -> None:
    detector = build_detector(name, 3, 2, recipe(), seed=0, features="fpn")
    trained = detector(*batch())
    (sum(trained.losses.values()) + trained.aspect_logits.sum()).backward()
    assert detector.aspect_head is not None
    assert detector.aspect_head.weight.grad is not None
    assert all(parameter.requires_grad for parameter in detector.parameters()), "from scratch, all is trained"
