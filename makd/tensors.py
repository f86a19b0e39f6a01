"""Tensors as files want them."""

from collections.abc import Mapping

from torch import Tensor


def contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU and in one piece each, as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
