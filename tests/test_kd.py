from typing import Any

import pytest

from makd.kd import Kd
from makd.params import read_params


def kd(**changes: Any) -> Kd:
    return Kd.model_validate(read_params()["kd"] | changes)


def test_the_weight_of_kd_is_the_same_in_every_epoch() -> None:
    assert [kd(weight=3.0).weight_of(epoch) for epoch in (0, 5, 100)] == [3.0, 3.0, 3.0]


def test_the_weight_of_dkd_rises_to_its_value() -> None:
    warm = kd(method="dkd", weight=2.0, dkd_warmup_epochs=4)
    assert [warm.weight_of(epoch) for epoch in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert kd(method="dkd", weight=2.0, dkd_warmup_epochs=0).weight_of(0) == 2.0


@pytest.mark.parametrize(
    ("source", "weight", "active"),
    [("none", 9.0, False), ("classifier", 0.0, False), ("classifier", 9.0, True), ("mllm", 1.0, True)],
)
def test_it_takes_a_source_and_a_weight(source: str, weight: float, active: bool) -> None:
    assert kd(source=source, weight=weight).active is active
