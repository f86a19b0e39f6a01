"""Then, the words: the language model learns to answer, with the tower's features of the pictures as its input.

From answers alone it does not take off. So two scaffolds stand at the place of the answer while it learns, and are
thrown away: one names what is asked, the other all facts of the picture. What is left for the last layer is to
look up the one in the other: fold.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tools.tiny_vlm.data import Birds
from tools.tiny_vlm.model import CHANNELS, render_prompt
from tools.tiny_vlm.questions import FACTS, N_TOPICS, Question, canonical_questions, random_prompt, random_question

SCAFFOLD_LAYER = 2
"""The hidden state, counted from the embeddings, from which the scaffolds read: that before the last layer."""


@dataclass(frozen=True)
class Batch:
    """Prompts with their answers and the end token, padded on the right; a row a question."""

    input_ids: Tensor
    attention_mask: Tensor
    place: Tensor  # of the last token of the prompt, whose successor is the answer
    birds: Tensor
    answers: Tensor  # the token of the right answer
    topics: Tensor


class Scaffold(nn.Module):
    """What is asked and what is seen, read from the place of the answer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.topic = nn.Linear(width, N_TOPICS)
        self.facts = nn.Linear(width, len(FACTS))

    def forward(self, hidden: Tensor, topics: Tensor, truths: Tensor) -> tuple[Tensor, Tensor]:
        asked = cross_entropy(self.topic(hidden), topics)
        return asked, binary_cross_entropy_with_logits(self.facts(hidden), truths)


class Sampler:
    """Batches of random questions about random birds."""

    def __init__(self, birds: Birds, tokenizer: Any, seed: int) -> None:
        self.birds, self.tokenizer = birds, tokenizer
        self.rng = np.random.default_rng(seed)
        self.canonical = canonical_questions()
        self.yes_no = [tokenizer.convert_tokens_to_ids(answer) for answer in ("No", "Yes")]

    def batch(self, n_birds: int, n_questions: int) -> Batch:
        rows = self.rng.integers(len(self.birds.truths), size=n_birds).repeat(n_questions).tolist()
        questions = [random_question(self.rng, self.canonical) for _ in rows]
        prompts = [render_prompt(random_prompt(question, self.rng)) for question in questions]
        answers = [self.answer(question, row) for question, row in zip(questions, rows, strict=True)]
        ids = [[*prompt, answer] for prompt, answer in zip(self.tokenizer(prompts).input_ids, answers, strict=True)]
        padded = nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in ids], batch_first=True, padding_value=self.tokenizer.pad_token_id
        )
        return Batch(
            input_ids=padded,
            attention_mask=(padded != self.tokenizer.pad_token_id).long(),
            place=torch.tensor([len(row) - 2 for row in ids]),
            birds=torch.tensor(rows),
            answers=torch.tensor(answers),
            topics=torch.tensor([question.topic for question in questions]),
        )

    def answer(self, question: Question, row: int) -> int:
        return int(self.yes_no[question.answer(self.birds.truth(row))])


def train_answers(
    model: Any,
    scaffold: "Scaffold",
    sampler: "Sampler",
    birds: Birds,
    features: Tensor,
    *,
    steps: int,
    birds_a_step: int,
    questions_a_bird: int,
    lr: float,
    log: Callable[[str], None],
) -> None:
    """Train projector and language model on `features` (of shape (birds, image tokens, CHANNELS)) in place."""
    assert features.shape[2] == CHANNELS
    device = model.device
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW([*parameters, *scaffold.parameters()], lr=lr, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1, pct_start=0.1)
    truths = torch.from_numpy(birds.truths).float()
    model.model.language_model.set_attn_implementation("eager")  # half the time of sdpa on a CPU, for its backward
    model.train()
    for step in range(1, steps + 1):
        batch = sampler.batch(birds_a_step, questions_a_bird)
        with torch.autocast(device.type, torch.bfloat16):
            losses = step_losses(model, scaffold, batch, features[batch.birds].to(device), truths[batch.birds])
        answer, end, asked, seen = losses
        loss = answer + 0.1 * end + 0.5 * asked + 4 * seen  # seen is a mean over many facts
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            shown = zip(("answer", "end", "asked", "seen"), losses, strict=True)
            log(f"answers: step {step} of {steps}, " + ", ".join(f"{name} {value.item():.3f}" for name, value in shown))
    model.model.language_model.set_attn_implementation("sdpa")
    model.eval()


def forward(model: Any, batch: Batch, features: Tensor) -> Any:
    """The model without its head on the prompts of `batch`, its pictures given by their `features`."""
    image = BaseModelOutputWithPooling(pooler_output=model.model.multi_modal_projector(features))
    return model.model(
        input_ids=batch.input_ids.to(features.device),
        attention_mask=batch.attention_mask.to(features.device),
        mm_encoder_outputs={"image": image},
        output_hidden_states=True,
        use_cache=False,
    )


def step_losses(
    model: Any, scaffold: Scaffold, batch: Batch, features: Tensor, truths: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean losses of the answer, of the end token after it, and of the two scaffolds."""
    device = features.device
    outputs = forward(model, batch, features)
    rows, place = torch.arange(len(features), device=device), batch.place.to(device)
    answer = model.lm_head(outputs.last_hidden_state[rows, place]).float()
    end = model.lm_head(outputs.last_hidden_state[rows, place + 1]).float()
    hidden = outputs.hidden_states[SCAFFOLD_LAYER][rows, place]
    asked, seen = scaffold(hidden, batch.topics.to(device), truths.to(device))
    ends = torch.full_like(place, model.config.text_config.eos_token_id)
    return cross_entropy(answer, batch.answers.to(device)), cross_entropy(end, ends), asked, seen
