import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from makd.class_student import without_aspects
from makd.students import build_student, split_logits

C, Q = 5, 7


@pytest.mark.parametrize("model", ["resnet18", "resnet34", "mobilenetv1_100", "efficientnet_b0"])
def test_what_ships_is_the_plain_classifier_of_the_same_class_logits(model: str) -> None:
    student = build_student(model, C, Q, seed=0, model_args={}).eval()
    shipped, plain = without_aspects(student), build_student(model, C, 0, seed=0, model_args={}).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(shipped(images), split_logits(student(images), C)[0])
    weights = shipped.state_dict()
    assert {name: value.shape for name, value in weights.items()} == {n: v.shape for n, v in plain.state_dict().items()}
    assert all(torch.equal(value, weights[name]) for name, value in plain.state_dict().items())  # untrained, same seed
    flops = []
    for one in (shipped, plain):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            one(images)
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] > 0


def test_the_student_itself_stays_as_it_is() -> None:
    student = build_student("resnet10t", C, Q, seed=0, model_args={"channels": (8, 8, 8, 8), "stem_width": 8})
    shipped = without_aspects(student)
    with torch.no_grad():
        next(shipped.parameters()).zero_()
    assert next(student.parameters()).abs().sum() > 0
    assert student(torch.zeros(2, 3, 32, 32)).shape == (2, C + Q)
    assert shipped.training == student.training
