from types import SimpleNamespace
from typing import Any

import pytest
import torch

from makd.architectures import image_token_id, logit_transforms, why_not_shared, windows
from makd.errors import UserError


def config(model_type: str = "internvl", **text: Any) -> SimpleNamespace:
    return SimpleNamespace(model_type=model_type, get_text_config=lambda: SimpleNamespace(**text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({}, None),
        ({"sliding_window": 40}, 40),
        ({"sliding_window": 40, "layer_types": ["full_attention"]}, None),
        (
            {"sliding_window": 40, "layer_types": ["full_attention", "sliding_attention"]},
            {"full_attention": None, "sliding_attention": 40},
        ),
    ],
)
def test_which_window_each_kind_of_layer_sees(text: dict[str, Any], expected: object) -> None:
    assert windows(config(**text)) == expected


def test_what_cannot_share_says_why() -> None:
    assert why_not_shared(config(layer_types=["full_attention", "sliding_attention"])) is None
    assert why_not_shared(config(layer_types=["linear_attention"])) == (
        "it has layers of the kind linear_attention, which take no mask"
    )
    for model_type in ("paligemma", "instructblip", "mllama"):
        assert why_not_shared(config(model_type))


def test_what_configurations_do_to_logits() -> None:
    logits = torch.tensor([3.0, -1.0])
    cases: list[tuple[dict[str, Any], torch.Tensor]] = [
        ({}, logits),
        ({"logit_scale": 0.5}, logits / 2),
        ({"logits_scaling": 4.0}, logits / 4),
        ({"final_logit_softcapping": 2.0}, 2 * torch.tanh(logits / 2)),
    ]
    for text, expected in cases:
        configured, plain = logit_transforms(config(**text))
        assert torch.allclose(configured(logits), expected)
        assert plain(logits).equal(logits)


def test_a_model_without_image_tokens_is_refused() -> None:
    assert image_token_id(SimpleNamespace(image_token_index=7)) == 7
    with pytest.raises(UserError, match="names no image token"):
        image_token_id(SimpleNamespace())
