"""First, the eyes: the tower learns the facts and is frozen; then the projector learns to lay them out in its tokens.

Both are read by a linear readout of the mean over the image, which attention computes most easily, and the projector's
tokens are normalised before, as the language model normalises what it attends to. So the facts lie ready for it: left
to find them in the tower's features itself, it does not, in as many steps as it needs here for everything.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, rms_norm

from tools.tiny_vlm.data import Birds
from tools.tiny_vlm.model import CHANNELS, to_pixels
from tools.tiny_vlm.questions import FACTS

Log = Callable[[str], None]


def train_tower(tower: Any, birds: Birds, *, epochs: int, batch: int, lr: float, seed: int, log: Log) -> None:
    """Train `tower` in place on `birds` and freeze it."""
    device = tower.device
    readout = nn.Linear(CHANNELS, len(FACTS)).to(device)
    tower.to(memory_format=torch.channels_last).train()

    def logits(rows: Tensor) -> Tensor:
        pixels = to_pixels(birds.pictures[rows.numpy()], device)
        if rows[0] % 2:  # no fact changes in a mirror
            pixels = pixels.flip(3)
        with torch.autocast(device.type, torch.bfloat16):
            features = tower(pixels).last_hidden_state
        return torch.as_tensor(readout(features.float().mean((2, 3))))

    parameters = [*tower.parameters(), *readout.parameters()]
    fit(logits, parameters, birds, epochs=epochs, batch=batch, lr=lr, seed=seed, log=lambda line: log(f"tower: {line}"))
    tower.eval().requires_grad_(False)


def train_projector(
    projector: Any, features: Tensor, birds: Birds, *, epochs: int, batch: int, lr: float, seed: int, log: Log
) -> None:
    """Train `projector` in place on the tower's `features` of `birds`."""
    width = projector.linear_2.out_features
    device = projector.linear_2.weight.device
    readout = nn.Linear(width, len(FACTS)).to(device)

    def logits(rows: Tensor) -> Tensor:
        tokens = projector(features[rows].to(device))
        return torch.as_tensor(readout(rms_norm(tokens, (width,)).mean(1)))

    parameters = [*projector.parameters(), *readout.parameters()]
    fit(logits, parameters, birds, epochs=epochs, batch=batch, lr=lr, seed=seed, log=lambda line: log(f"eyes: {line}"))


def fit(
    logits: Callable[[Tensor], Tensor],
    parameters: list[nn.Parameter],
    birds: Birds,
    *,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
    log: Log,
) -> None:
    """Fit the fact logits of rows of `birds` to their truths with AdamW and one cycle of the rate."""
    steps = len(birds.truths) // batch
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * steps + 1, pct_start=0.1)
    shuffle = torch.Generator().manual_seed(seed)
    truths = torch.from_numpy(birds.truths).float()
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(truths), generator=shuffle)[: steps * batch].view(steps, batch):
            found = logits(rows)
            loss = binary_cross_entropy_with_logits(found, truths[rows].to(found.device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        log(f"epoch {epoch + 1} of {epochs}, loss {total / steps:.4f}")


@torch.no_grad()
def encode(tower: Any, birds: Birds, batch: int = 256) -> Tensor:
    """The tower's features as FastVLM reads them: float32 of shape (birds, image tokens, CHANNELS), on the CPU."""
    chunks = [
        tower(to_pixels(birds.pictures[at : at + batch], tower.device)).last_hidden_state.flatten(2).mT.cpu()
        for at in range(0, len(birds.pictures), batch)
    ]
    return torch.cat(chunks)
