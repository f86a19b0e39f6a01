"""Which device to compute on."""

import torch

from makd.errors import UserError


def choose_device(name: str) -> torch.device:
    """`name` of runtime.device; auto takes the first there is of cuda, mps and cpu.

    Raises:
        UserError: the device is not on this machine.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, present in there.items() if present))
    if not there[name]:
        raise UserError(f"runtime.device: {name} is not on this machine; set auto or cpu in params.yaml")
    return torch.device(name)
