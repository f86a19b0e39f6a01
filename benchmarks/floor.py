"""The least work that answering takes: FLOPs from a configuration, and how fast this machine multiplies matrices.

The floor of one image: its vision tower once, its prefix once, the tokens of each question once; no mask, no head.
"""

from collections.abc import Sequence
from typing import Any

import torch


def text_flops(config: Any, tokens: int, seen: float) -> float:
    """A decoder over `tokens`, which attend to `seen` positions on average."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    linear = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size)
    return float(config.num_hidden_layers * tokens * (2 * linear + 4 * queries * seen))


def vision_flops(config: Any, tiles: int) -> float:
    """A vision transformer over `tiles` square images."""
    side, patch = (
        value[0] if isinstance(value, list | tuple) else value for value in (config.image_size, config.patch_size)
    )
    patches = (side // patch) ** 2
    width = config.hidden_size
    linear = 4 * width**2 + 2 * width * config.intermediate_size
    layers = config.num_hidden_layers * (patches + 1) * (2 * linear + 4 * width * (patches + 1))
    return float(tiles * (layers + patches * 2 * 3 * patch**2 * width))


def projector_flops(config: Any, tiles: int) -> float:
    """Two matrices from the tower's width to the language model's: after merging 2 x 2 patches in InternVL."""
    vision, text = config.vision_config, config.get_text_config().hidden_size
    if config.model_type == "internvl":
        return float(tiles * config.image_seq_length * 2 * (4 * vision.hidden_size * text + text**2))
    patches = (vision.image_size // vision.patch_size) ** 2
    return float(tiles * patches * 2 * (vision.hidden_size * text + text**2))


def floor_flops(config: Any, tiles: int, prefix: int, branches: Sequence[int]) -> float:
    """FLOPs of one image: `prefix` tokens that all questions share, then branches of so many tokens each."""
    text = config.get_text_config()
    questions = sum(text_flops(text, length, prefix + (length + 1) / 2) for length in branches)
    image = vision_flops(config.vision_config, tiles) + projector_flops(config, tiles)
    return image + text_flops(text, prefix, (prefix + 1) / 2) + questions


def matmul(width: int, tokens: int, dtype: torch.dtype = torch.float32) -> tuple[Any, float]:
    """A product of the language model's shape, to be timed, and its FLOPs."""
    left, right = torch.randn(tokens, width, dtype=dtype), torch.randn(width, 4 * width, dtype=dtype)
    return (lambda: torch.mm(left, right)), 2.0 * tokens * width * 4 * width
