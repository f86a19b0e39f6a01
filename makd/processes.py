"""One student trained by several processes, with the result of one.

A batch is cut into equal parts, a process each. What a plain data-parallel run computes apart is joined: the logits, so
that every loss is that of the whole batch, and the statistics of batch normalisation.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def share_of(rows: Int64[np.ndarray, " batch"], fabric: Fabric) -> Int64[np.ndarray, " share"]:
    """This process's part of a batch; all of it where it cannot be cut evenly, which is the same, only slower."""
    if len(rows) % fabric.world_size:
        return rows
    share: Int64[np.ndarray, " share"] = rows.reshape(fabric.world_size, -1)[fabric.global_rank]
    return share


def joined(logits: Float[Tensor, "share outputs"], n_images: int, fabric: Fabric) -> Float[Tensor, "batch outputs"]:
    """The logits of the whole batch, in its order.

    Every process computes the loss of all images, so gradients add up to `world_size` times the right one, which is
    what the averaging between the processes divides by.
    """
    if len(logits) == n_images:
        return logits
    gathered = fabric.all_gather(logits, sync_grads=True)
    assert isinstance(gathered, Tensor)
    return gathered.flatten(0, 1)


def joint_batch_norm(*, shared: bool) -> AbstractContextManager[object]:
    """Where the batch is shared between processes; else the plain one is right."""
    return JointBatchNorm() if shared else nullcontext()


class JointBatchNorm(TorchFunctionMode):
    """Batch normalisation in training mode takes mean and variance over the images of all processes.

    torch.nn.SyncBatchNorm does so on a GPU only. All parts are equal, so that means can be averaged.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.batch_norm:
            return batch_norm(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def batch_norm(
    plain: Any,
    images: Float[Tensor, "share channels *place"],
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As `torch.nn.functional.batch_norm`, over all processes."""
    if not training:
        result: Tensor = plain(images, running_mean, running_var, weight, bias, False, momentum, eps)
        return result
    over = [axis for axis in range(images.ndim) if axis != 1]
    values = images.float()
    n_processes = torch.distributed.get_world_size()
    mean = sum_over_processes(values.mean(dim=over)) / n_processes
    centred = values - per_channel(mean, images)
    var = sum_over_processes(centred.square().mean(dim=over)) / n_processes
    n = images.numel() // images.shape[1] * n_processes
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * n / (n - 1), momentum)
    normal = centred * per_channel((var + eps).rsqrt(), images)
    if weight is not None:
        normal = normal * per_channel(weight, images)
    if bias is not None:
        normal = normal + per_channel(bias, images)
    return normal.to(images.dtype)


def sum_over_processes(values: Float[Tensor, " channels"]) -> Float[Tensor, " channels"]:
    total: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def per_channel(values: Float[Tensor, " channels"], images: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (images.ndim - 2))
