"""Then, the lookup: what is asked and what is seen are folded into the last layer, which has to bring them together.

The answer is a product, "is this fact asked" times "does this fact hold", and a product is what gradient descent is
slow to find: 500 steps got to 75 % right answers. But linear probes can read both factors where the last MLP reads, and
an MLP with gates computes products: silu(gate(x)) * up(x). So each topic gets one hidden unit, the probe of the topic
as its gate and the signed probe of its fact as what passes; what they send on is the difference of Yes and No.
In a trial right answers went from 75 % to 90 % with nothing trained in between; training goes on from there.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, silu

from tools.tiny_vlm.data import Birds
from tools.tiny_vlm.questions import FACTS, N_TOPICS
from tools.tiny_vlm.train import Batch, Sampler, forward

PROBE_STEPS, PROBE_LR = 800, 0.03
OPEN = 5.0  # what goes into the gate of the topic that is asked
CONSTANT = 4.0  # the logit of what always holds
SENT = 0.3  # length of what a unit sends on


def fold(
    model: Any, sampler: Sampler, birds: Birds, features: Tensor, *, batches: int, log: Callable[[str], None]
) -> None:
    """Overwrite the first `N_TOPICS` hidden units of the last MLP of `model`."""
    inputs, batch = collect(model, sampler, features, batches)
    truths = torch.from_numpy(birds.truths).float()[batch.birds].to(inputs.device)
    with torch.enable_grad():
        topic, fact = fit_probes(inputs, batch.topics.to(inputs.device), truths)
    gate, up = units(inputs, batch.topics.to(inputs.device), topic, fact)
    _, yes = sampler.yes_no
    said = (silu(inputs @ gate.T) * (inputs @ up.T)).sum(1) > 0
    right = (said == (batch.answers == yes).to(said.device)).float().mean().item()
    log(f"folded: the products alone answer {right:.1%} right")
    no_word, yes_word = model.get_input_embeddings().weight[sampler.yes_no]
    direction = (yes_word - no_word) / (yes_word - no_word).norm()
    mlp = model.model.language_model.layers[-1].mlp
    with torch.no_grad():
        mlp.gate_proj.weight[:N_TOPICS] = gate
        mlp.up_proj.weight[:N_TOPICS] = up
        mlp.down_proj.weight[:, :N_TOPICS] = SENT * direction[:, None]


@torch.no_grad()
def collect(model: Any, sampler: Sampler, features: Tensor, batches: int) -> tuple[Tensor, Batch]:
    """What the last MLP reads at the place of the answer, (questions, width), and the questions."""
    seen: list[Tensor] = []
    rows: list[Tensor] = []
    questions: list[Batch] = []
    hook = model.model.language_model.layers[-1].mlp.register_forward_pre_hook(lambda _, read: seen.append(read[0]))
    for _ in range(batches):
        batch = sampler.batch(64, 8)
        with torch.autocast(model.device.type, torch.bfloat16):
            forward(model, batch, features[batch.birds].to(model.device))
        rows.append(seen.pop()[torch.arange(len(batch.birds)), batch.place.to(model.device)].float())
        questions.append(batch)
    hook.remove()
    merged = {name: torch.cat([getattr(batch, name) for batch in questions]) for name in ("birds", "answers", "topics")}
    empty = torch.empty(0)
    return torch.cat(rows), Batch(input_ids=empty, attention_mask=empty, place=empty, **merged)


def fit_probes(inputs: Tensor, topics: Tensor, truths: Tensor) -> tuple[Tensor, Tensor]:
    """Linear probes without bias: of the topic (N_TOPICS, width), and of the facts (facts, width)."""
    width = inputs.shape[1]
    topic = torch.zeros(N_TOPICS, width, device=inputs.device, requires_grad=True)
    fact = torch.zeros(len(FACTS), width, device=inputs.device, requires_grad=True)
    optimizer = torch.optim.Adam([topic, fact], lr=PROBE_LR)
    for _ in range(PROBE_STEPS):
        loss = cross_entropy(inputs @ topic.T, topics) + 1e-5 * topic.square().sum()
        loss = loss + 5 * binary_cross_entropy_with_logits(inputs @ fact.T, truths)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return topic.detach(), fact.detach()


def units(inputs: Tensor, topics: Tensor, topic: Tensor, fact: Tensor) -> tuple[Tensor, Tensor]:
    """Gate and up weights, both (N_TOPICS, width).

    The MLP has no bias: the threshold of the gates lies along `one`, the direction in which all inputs are 1.
    """
    one = torch.linalg.lstsq(inputs, torch.ones(len(inputs), 1, device=inputs.device)).solution[:, 0]
    topic = topic - topic.mean(0)
    scores = inputs @ topic.T
    own = scores.gather(1, topics[:, None])[:, 0].mean()
    others = scores.scatter(1, topics[:, None], -torch.inf).max(1).values.mean()
    threshold = 0.55 * own + 0.45 * others
    gate = OPEN / (own - threshold) * (topic - threshold * one)
    affirmed = torch.cat([fact, CONSTANT * one[None]])  # the last topics are about what always holds
    return gate, torch.stack([affirmed, -affirmed], dim=1).flatten(0, 1)
