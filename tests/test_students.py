"""Students from timm, built without a download."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from makd.errors import UserError
from makd.students import (
    ClassAndAspectHead,
    build_student,
    check_student,
    load_student,
    normalisation,
    save_student,
    split_logits,
)

C, Q = 5, 3
SMALL = {"channels": (8, 8, 8, 8), "stem_width": 8}


def student(n_aspects: int = Q, *, name: str = "resnet10t", seed: int = 0, **model_args: Any) -> nn.Module:
    return build_student(name, C, n_aspects, seed=seed, model_args=model_args or (SMALL if name == "resnet10t" else {}))


HEADS = {"resnet18": "fc", "mobilenetv1_100": "classifier", "efficientnet_b0": "classifier", "convnext_atto": "head.fc"}


@pytest.mark.parametrize(("name", "head"), HEADS.items())
def test_head_is_one_linear_layer_whose_class_rows_are_the_plain_classifiers(name: str, head: str) -> None:
    plain, wide = student(0, name=name).state_dict(), student(Q, name=name).state_dict()
    assert list(plain) == list(wide)
    for key, value in plain.items():
        expected = wide[key]
        if key.startswith(head):
            assert len(expected) == C + Q
            expected = expected[:C]
        assert torch.equal(value, expected), key


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv1_100", "efficientnet_b0"])
def test_models_of_the_paper_give_c_plus_q_logits(name: str) -> None:
    check_student(student(name=name), name, 64, C + Q)


def test_aspect_rows_are_drawn_apart_from_the_rest_and_by_the_seed() -> None:
    first, again, other = (student(seed=seed).state_dict()["fc.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first[:C], other[:C])
    assert not torch.equal(first[C:], other[C:])
    assert (first[C:].std(dim=1) > 0).all()
    more = student(Q + 2).state_dict()["fc.weight"]
    assert torch.equal(more[:C], first[:C])


def test_building_neither_reads_nor_moves_the_global_random_state() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = student().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for key, value in student().state_dict().items():
        assert torch.equal(value, first[key]), key


def test_head_computes_what_one_linear_layer_does() -> None:
    torch.manual_seed(0)
    head = ClassAndAspectHead(nn.Linear(16, C), Q)
    features = torch.randn(7, 16)
    torch.testing.assert_close(head(features), functional.linear(features, head.weight, head.bias))
    without_bias = ClassAndAspectHead(nn.Linear(16, C, bias=False), Q)
    torch.testing.assert_close(without_bias(features), functional.linear(features, without_bias.weight))


def test_class_gradient_through_the_head_is_the_plain_classifiers_bit_for_bit() -> None:
    """With 196 classes, 50 aspects and 512 features, one wide product rounds otherwise."""
    torch.manual_seed(0)
    plain = nn.Linear(512, 196)
    wide = ClassAndAspectHead(plain, 50)
    features, labels = torch.randn(16, 512), torch.randint(0, 196, (16,))
    gradients = []
    for layer in (plain, wide):
        inputs = features.clone().requires_grad_()
        functional.cross_entropy(layer(inputs)[:, :196], labels).backward()  # type: ignore[no-untyped-call]
        assert inputs.grad is not None
        gradients.append(inputs.grad)
    assert torch.equal(*gradients)


def test_split_logits_cuts_after_the_classes() -> None:
    class_logits, aspect_logits = split_logits(torch.arange(16.0).view(2, 8), C)
    assert class_logits.tolist() == [[0, 1, 2, 3, 4], [8, 9, 10, 11, 12]]
    assert aspect_logits.tolist() == [[5, 6, 7], [13, 14, 15]]


def test_normalisation_is_the_models_own() -> None:
    assert normalisation(student()).mean == (0.485, 0.456, 0.406)
    assert normalisation(student(name="mobilenetv1_100")).std == (0.5, 0.5, 0.5)


def test_saved_student_comes_back(tmp_path: Path) -> None:
    built = student().eval().to(memory_format=torch.channels_last)
    config = {"model": "resnet10t", "model_args": SMALL, "classes": ["c"] * C, "questions": ["q"] * Q}
    save_student(built, config, tmp_path)
    loaded, read = load_student(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), built(images))
    assert read == json.loads(json.dumps(config))


@pytest.mark.parametrize(
    ("name", "model_args", "message"),
    [
        ("resnt18", {}, r"no model 'resnt18'; did you mean .*resnet18"),
        ("", {}, r"timm\.list_models\(\) has all names"),
        ("resnet10t", {"chanels": [8]}, r"train\.model_args\.resnet10t: .*chanels"),
        ("resnet10t", {"channels": [-3, 8, 8, 8]}, r"train\.model_args\.resnet10t: .*negative"),
        ("resnet10t", {"channels": 3}, r"train\.model_args\.resnet10t: "),
        ("resnet10t", {"channels": []}, r"train\.model_args\.resnet10t: "),
        ("deit_tiny_distilled_patch16_224", {}, r"one nn\.Linear; .* several layers, \('head', 'head_dist'\)"),
        ("resnetv2_18", {}, r"one nn\.Linear; .* head\.fc, a Conv2d"),
    ],
)
def test_unusable_models_are_refused_in_one_line(name: str, model_args: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build_student(name, C, Q, seed=0, model_args=model_args)
    assert "\n" not in str(caught.value)


def test_missing_pretrained_weights_are_a_user_error() -> None:
    with pytest.raises(UserError, match=r"train\.pretrained: no weights for vovnet39a"):
        build_student("vovnet39a", C, Q, seed=0, pretrained=True, model_args={})


def test_wrong_size_and_wrong_number_of_outputs_are_found_before_training() -> None:
    vit = build_student("vit_tiny_patch16_224", C, Q, seed=0, model_args={"depth": 1})
    with pytest.raises(UserError, match=r"vit cannot take pictures of 64 x 64: .*[^.]; change train\.image_px"):
        check_student(vit, "vit", 64, C + Q)
    with pytest.raises(UserError, match=r"resnet10t gives \(1, 8\) for a picture, expected \(1, 9\)"):
        check_student(student(), "resnet10t", 32, C + Q + 1)
