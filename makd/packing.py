"""Many questions in one sequence: each a branch that sees the shared prefix and itself, and no other branch.

The mask row of a branch's token: every prefix position, plus the branch's own tokens up to it. Positions restart behind
the prefix in each branch. Both are needed: with either wrong, answers change by up to 0.5 and nothing fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Pack:
    """Some questions' tokens in a row: their ids, depth in the branch and branch, and where each branch ends."""

    ids: Int[Tensor, " tokens"]
    depth: Int[Tensor, " tokens"]
    branch: Int[Tensor, " tokens"]
    last: Int[Tensor, " questions"]

    def mask(self, prefix: int, dtype: torch.dtype) -> Float[Tensor, "1 1 tokens all"]:
        """Additive attention mask over the prefix and the pack: 0 where a token may look, else the dtype's minimum."""
        seen = (self.branch[:, None] == self.branch[None]) & (self.depth[:, None] >= self.depth[None])
        blocked = torch.cat([torch.zeros(len(self.ids), prefix, dtype=torch.bool, device=seen.device), ~seen], dim=1)
        return torch.zeros(blocked.shape, dtype=dtype, device=seen.device).masked_fill_(
            blocked, torch.finfo(dtype).min
        )[None, None]

    def to(self, device: torch.device) -> "Pack":
        return Pack(*(tensor.to(device) for tensor in (self.ids, self.depth, self.branch, self.last)))


def packs(branches: Sequence[Sequence[int]], budget: int) -> list[Pack]:
    """`branches` in their order, as many in a pack as fit `budget` tokens (a longer branch has a pack of its own).

    The budget keeps the mask small: a dense mask over all questions costs more than it saves.
    """
    groups: list[list[Sequence[int]]] = [[]]
    for branch in branches:
        if groups[-1] and sum(map(len, groups[-1])) + len(branch) > budget:
            groups.append([])
        groups[-1].append(branch)
    return [pack(group) for group in groups]


def pack(branches: Sequence[Sequence[int]]) -> Pack:
    lengths = torch.tensor([len(branch) for branch in branches])
    return Pack(
        ids=torch.tensor([token for branch in branches for token in branch]),
        depth=torch.cat([torch.arange(length) for length in lengths]),
        branch=torch.repeat_interleave(torch.arange(len(branches)), lengths),
        last=lengths.cumsum(0) - 1,
    )


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all `sequences` share, leaving each at least one of its own."""
    limit = min(map(len, sequences)) - 1
    first = sequences[0]
    for position in range(limit):
        if any(sequence[position] != first[position] for sequence in sequences):
            return position
    return limit
