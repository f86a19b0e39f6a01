"""Many questions in one sequence: branches of a tree that see the shared prefix and their own way up, nothing else.

The mask row of a token: every prefix position, plus the tokens that lead to it in its branch. Positions restart behind
the prefix in each branch. Both are needed: with either wrong, answers change by up to 0.5 and nothing fails.
Questions that begin alike share those tokens. So a pack is a forest (a trie), laid out in a row, parents first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pack:
    """Some questions' tokens in a row: ids, depth in the branch, what leads to what, and where questions end."""

    ids: Int[Tensor, " tokens"]
    depth: Int[Tensor, " tokens"]
    leads: Bool[Tensor, "tokens tokens"]  # leads[i, j]: token j is on the way to token i, or is i
    last: Int[Tensor, " questions"]
    questions: tuple[int, ...]  # their places in the list that was packed

    def mask(self, prefix: int, dtype: torch.dtype, window: int | None = None) -> Float[Tensor, "1 1 tokens all"]:
        """Additive attention mask over the prefix and the pack: 0 where a token may look, else the dtype's minimum.

        Args:
            prefix: tokens that all questions share.
            dtype: of the model.
            window: of layers with sliding attention: how many positions a token sees, itself included.
        """
        seen = torch.cat([self.leads.new_ones(len(self.ids), prefix), self.leads], dim=1)
        if window is not None:
            keys = torch.cat([torch.arange(prefix, device=seen.device), prefix + self.depth])
            seen &= (prefix + self.depth)[:, None] - keys < window
        blocked = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
        return blocked.masked_fill_(~seen, torch.finfo(dtype).min)[None, None]

    def to(self, device: torch.device) -> "Pack":
        ids, depth, leads, last = (tensor.to(device) for tensor in (self.ids, self.depth, self.leads, self.last))
        return Pack(ids, depth, leads, last, self.questions)


def packs(branches: Sequence[Sequence[int]], budget: int) -> list[Pack]:
    """All `branches`, as many in a pack as fit `budget` tokens (a longer branch has a pack of its own).

    The budget keeps the mask small: a dense mask over all questions costs more than it saves. Branches are packed in
    the order of their tokens: those that begin alike meet, and the order in which they are given changes nothing.
    """
    groups: list[list[int]] = []
    size = 0
    for question in sorted(range(len(branches)), key=lambda place: list(branches[place])):
        branch = branches[question]
        shared = common_beginning(branches[groups[-1][-1]], branch) if groups else 0
        if not groups or size + len(branch) - shared > budget:
            groups.append([])
            size = shared = 0
        groups[-1].append(question)
        size += len(branch) - shared
    return [pack(branches, group) for group in groups]


def pack(branches: Sequence[Sequence[int]], questions: Sequence[int]) -> Pack:
    """The branches of `questions` in a row, each token of a common beginning once."""
    ids: list[int] = []
    depth: list[int] = []
    ways: list[list[int]] = []  # of each token: the places of those that lead to it, and its own
    last: list[int] = []
    places: dict[tuple[int, ...], int] = {}
    for question in questions:
        branch = tuple(branches[question])
        way: list[int] = []
        for end in range(1, len(branch) + 1):
            place = places.setdefault(branch[:end], len(ids))
            way.append(place)
            if place == len(ids):
                ids.append(branch[end - 1])
                depth.append(end - 1)
                ways.append(list(way))
        last.append(way[-1])
    leads = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for place, way in enumerate(ways):
        leads[place, way] = True
    return Pack(torch.tensor(ids), torch.tensor(depth), leads, torch.tensor(last), tuple(questions))


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all `sequences` share, leaving each at least one of its own."""
    limit = min(map(len, sequences)) - 1
    return min(limit, *(common_beginning(sequences[0], sequence) for sequence in sequences))


def common_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    for place, (token, its) in enumerate(zip(one, other, strict=False)):
        if token != its:
            return place
    return min(len(one), len(other))
