"""The detector is torchvision's; the aspect head looks on."""

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from makd.detection_recipe import AspectFeatures, DetectorName, DetectorRecipe
from makd.detectors import Detected, Trained, averages, build_detector, build_plain, plain_state
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
