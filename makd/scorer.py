"""P(yes) from a Hugging Face image-text model: the image once, the prompt up to the question once, then all questions.

q of Eq. (1) in arXiv 2501.13341 needs two numbers a question: the logits of yes and no as first token of the answer.
One forward pass an (image, question) pair reads the image Q times; here the prefix is read once into a cache and all
questions follow as branches of one sequence (packing.py). The last hidden state times two rows of the output matrix,
in float32, gives the logits: in bfloat16 they would lie on a grid of 0.125.

Where a prefix cannot be shared (architectures.py), one forward pass a pair gives the same numbers, slowly.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from makd.architectures import (
    Transform,
    forget_lengths,
    frequencies_vary,
    logit_transforms,
    why_not_shared,
    windows,
)
from makd.conversation import Branches, Conversation, Inputs, Reader, WholeImages, image_end
from makd.errors import UserError
from makd.estimate import Cost
from makd.packing import Pack
from makd.vlm import VLM

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""Largest |q packed - q one by one| that the self-test accepts; a wrong mask or position gives 0.05 to 0.5."""
GAP_TOLERANCE = 100
"""How many times that z_yes - z_no may differ: where q is nearly 0 or 1, it hides what is wrong."""
MASKS_KEPT = 64
TOP_TOKENS = 10

Mask = Tensor | dict[str, Tensor]


class Scorer:
    """A multimodal LLM that answers a fixed list of questions.

    Args:
        vlm: the loaded model; several scorers may share it.
        messages: what the user says, a text a question.
        answers: the two words, yes first.
        share: False reads image and question together in any case, one forward pass a pair.

    Attributes:
        why_one_by_one: why every question needs a forward pass of its own; None where the prefix is shared.
        reader: makes of a picture what `score` takes.

    Raises:
        UserError: no chat template, an answer that is not one token in context.
    """

    def __init__(
        self, vlm: VLM, messages: Sequence[str], answers: tuple[str, str] = ("Yes", "No"), share: bool = True
    ) -> None:
        self.vlm = vlm
        self.conversation = Conversation(vlm.processor, messages, answers)
        self.why_one_by_one = why_not_shared(vlm.config) if share else "extract_logits.shared_prefix is false"
        self.reader: Reader = self.conversation if self.why_one_by_one is None else WholeImages()
        self.windows = windows(vlm.config)
        self.transform = logit_transforms(vlm.config)[0]
        answer_ids = list(self.conversation.answer_ids)
        self.rows = vlm.head.weight[answer_ids].float()
        self.bias = None if vlm.head.bias is None else vlm.head.bias[answer_ids].float()
        self.branches: Branches | None = None
        self.mask = lru_cache(MASKS_KEPT)(self.new_mask)  # a tiled model has a dozen prefix lengths for all images

    def cost(self, inputs: Any) -> Cost:
        """Tokens and FLOPs of one image, counted while it is answered."""
        if self.why_one_by_one is None:
            assert self.branches is not None, "prepare() comes first"
            prefix = inputs["input_ids"].shape[1] - len(self.branches.tails[0]) + self.branches.shared
            tokens = prefix + sum(len(pack.ids) for pack in self.branches.packs)
        else:
            questions = range(len(self.conversation.prompts))
            tokens = sum(self.conversation.inputs(inputs, question)["input_ids"].shape[1] for question in questions)
        with FlopCounterMode(display=False) as counter:
            self.score([inputs])
        return Cost(tokens, counter.get_total_flops())

    def prepare(self, image: Image) -> None:
        """Cut the questions into branches, by the prompts of one real image. Needed before `score`."""
        if self.why_one_by_one is None:
            branches = self.conversation.branches(image, self.vlm.image_token)
            self.branches = replace(branches, packs=[pack.to(self.vlm.device) for pack in branches.packs])

    @torch.inference_mode()
    def score(self, batch: Sequence[Any]) -> Float[Tensor, "images questions 2"]:
        """The logits of yes and no, float32 on the CPU, for what `reader.inputs` made of each image."""
        return self.two_rows(self.hidden(batch)).cpu()

    def hidden(self, batch: Sequence[Any]) -> Float[Tensor, "images questions width"]:
        """The last hidden state behind each question, for what `reader.inputs` made of each image."""
        questions = range(len(self.conversation.prompts))
        if self.why_one_by_one is not None:
            return torch.stack(
                [torch.stack([self.one_by_one(image, question)[0] for question in questions]) for image in batch]
            )
        hidden = self.empty(len(batch))
        for group in alike(batch):
            hidden[group] = self.hidden_of_alike([batch[index] for index in group])
        return hidden

    def empty(self, n_images: int) -> Float[Tensor, "images questions width"]:
        n_questions, width = len(self.conversation.prompts), self.rows.shape[1]
        return torch.empty(n_images, n_questions, width, dtype=self.vlm.dtype, device=self.rows.device)

    def hidden_of_alike(self, batch: Sequence[Inputs]) -> Float[Tensor, "images questions width"]:
        """Images whose prompts are equal token by token, in one go; in two, where memory does not suffice."""
        try:
            return self.hidden_in_one_go(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise UserError(
                    "the device has too little memory for one image: choose a smaller extract_logits.dtype, "
                    "extract_logits.quantization, runtime.device_map, or fewer tiles in extract_logits.processor"
                ) from None
        torch.cuda.empty_cache()
        half = len(batch) // 2
        return torch.cat([self.hidden_of_alike(batch[:half]), self.hidden_of_alike(batch[half:])])

    def hidden_in_one_go(self, batch: Sequence[Inputs]) -> Float[Tensor, "images questions width"]:
        assert self.branches is not None, "prepare() comes first"
        ids = batch[0]["input_ids"]
        end = image_end(ids[0], self.vlm.image_token)
        if ids[0, end:].tolist() != self.branches.tails[0]:
            raise UserError(
                f"{self.vlm.name} puts other text behind one image than behind another, so it cannot be shared; "
                "set extract_logits.shared_prefix to false"
            )
        prefix = end + self.branches.shared
        if frequencies_vary(self.vlm.config, prefix, end + max(map(len, self.branches.tails))):
            return torch.stack([self.hidden_one_by_one(inputs, end) for inputs in batch])
        forget_lengths(self.vlm.model)
        merged = self.vlm.to_model({name: torch.cat([inputs[name] for inputs in batch]) for name in batch[0]})
        # Whatever has a value a token is cut at the prefix: ids, masks, token types
        head = {
            name: value[:, :prefix] if value.shape[1:] == ids.shape[1:] else value for name, value in merged.items()
        }
        model = self.vlm.model.base_model
        cache = DynamicCache()  # with a configuration it would drop what is outside a sliding window
        model(**head, past_key_values=cache, use_cache=True)
        # M-RoPE: an image takes fewer positions than tokens; left over from another image it would be silently wrong
        delta = getattr(model, "rope_deltas", None)
        start = prefix if delta is None else prefix + delta.to(self.vlm.device).view(-1, 1)
        found = self.empty(len(batch))
        for pack in self.branches.packs:
            hidden = model(
                input_ids=pack.ids.expand(len(batch), -1),
                attention_mask=self.mask(pack, prefix),
                position_ids=(start + pack.depth).expand(len(batch), -1),
                past_key_values=fork(cache),
                use_cache=True,
            ).last_hidden_state
            found[:, list(pack.questions)] = hidden[:, pack.last].to(found)
        return found

    def hidden_one_by_one(self, inputs: Inputs, end: int) -> Float[Tensor, "questions width"]:
        """One plain pass a question, for an image whose prompts are of lengths that a shared prefix cannot have."""
        assert self.branches is not None
        return torch.stack([self.vlm.forward(with_tail(inputs, end, tail))[0] for tail in self.branches.tails])

    def new_mask(self, pack: Pack, prefix: int) -> Mask:
        if isinstance(self.windows, dict):
            return {kind: pack.mask(prefix, self.vlm.dtype, window) for kind, window in self.windows.items()}
        return pack.mask(prefix, self.vlm.dtype, self.windows)

    def two_rows(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch 2"]:
        """The logits of yes and no, float32, from the last hidden state."""
        return self.transform(torch.nn.functional.linear(hidden.float(), self.rows, self.bias))

    def one_by_one(self, image: Image, question: int) -> tuple[Float[Tensor, " width"], Float[Tensor, " vocabulary"]]:
        """The last hidden state and all next-token logits of one plain forward pass: what `hidden` must agree with."""
        return self.vlm.forward(self.conversation.inputs(image, question))

    @torch.inference_mode()
    def self_test(self, images: Sequence[Image]) -> "SelfTest":
        """Prepare, then compare `score` with one forward pass a question, on real images and prompts.

        Raises:
            UserError: the shared prefix differs from one by one by more than TOLERANCE, or the two rows of the output
                matrix differ from the model's own logits.
        """
        self.prepare(images[0])
        prompts = self.conversation.prompts
        longest = max(range(len(prompts)), key=lambda index: len(prompts[index]))
        chosen = sorted({0, longest, len(prompts) - 1})
        hidden = self.hidden([self.reader.inputs(image) for image in images])
        plain = [self.one_by_one(image, question) for image in images for question in chosen]
        plain_hidden, plain_logits = (
            torch.stack([one for one, _ in plain]),
            torch.stack([logits for _, logits in plain]),
        )
        self.transform = self.agreeing_transform(plain_hidden, plain_logits[:, list(self.conversation.answer_ids)])
        packed, alone = self.two_rows(hidden[:, chosen].flatten(0, 1)), self.two_rows(plain_hidden)
        difference = (p_yes(packed) - p_yes(alone)).abs().max().item()
        gap = (packed - alone).diff().abs().max().item()
        accepted = TOLERANCE[self.vlm.dtype]
        if not (difference <= accepted and gap <= GAP_TOLERANCE * accepted):  # also where they are NaN
            raise UserError(
                f"self-test: {self.vlm.name} answers differently with a shared prefix and one by one: max |dq| is "
                f"{difference:.1g} (accepted: {accepted:g}), of z_yes - z_no {gap:.1g} (accepted: "
                f"{GAP_TOLERANCE * accepted:g}); set extract_logits.shared_prefix to false"
            )
        return self.audit(hidden.flatten(0, 1), difference)

    def agreeing_transform(self, hidden: Float[Tensor, "pairs width"], own: Float[Tensor, "pairs 2"]) -> Transform:
        """What this model really does to its logits: that with which the two rows give its own."""
        if not own.isfinite().all():
            raise UserError(
                f"self-test: the logits of yes and no in {self.vlm.name} are not finite; "
                "set extract_logits.dtype to bfloat16 or float32"
            )
        ours = torch.nn.functional.linear(hidden.float(), self.rows, self.bias).cpu()
        accepted = 1e-3 + 4 * torch.finfo(self.vlm.dtype).eps * own.abs()
        for transform in logit_transforms(self.vlm.config):
            if ((transform(ours) - own).abs() <= accepted).all():
                return transform
        raise UserError(
            f"self-test: the logits of yes and no are {own[0].tolist()} in {self.vlm.name}, but {ours[0].tolist()} "
            "from its last hidden state; this architecture is not supported"
        )

    def audit(self, hidden: Float[Tensor, "pairs width"], difference: float) -> "SelfTest":
        """How much of the next token's probability the two answers hold, over the whole vocabulary."""
        mass, top = [], Counter[str]()
        for state in hidden:
            probabilities = self.transform(self.vlm.head(state).float()).softmax(-1)
            mass.append(probabilities[list(self.conversation.answer_ids)].sum().item())
            top[self.conversation.processor.tokenizer.decode([int(probabilities.argmax())])] += 1
        return SelfTest(difference, len(mass), sum(mass) / len(mass), min(mass), dict(top.most_common(TOP_TOKENS)))


@dataclass(frozen=True)
class SelfTest:
    """What the self-test saw."""

    difference: float  # max |q packed - q one by one|
    pairs: int  # (image, question) pairs that the following is about
    mass: float  # mean probability that the first token is one of the two answers
    least_mass: float
    top_tokens: dict[str, int]  # the likeliest first tokens, at most ten: in how many pairs


def p_yes(logits: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Eq. (1): softmax over the logits of yes and no, the share of yes."""
    return logits.softmax(-1)[..., 0]


def with_tail(inputs: Inputs, end: int, tail: list[int]) -> Inputs:
    """The prompt with other tokens behind the image; what else has a value a token (a mask) goes on as it ends."""
    ids = inputs["input_ids"]
    changed = {
        name: torch.cat([value[:, :end], value[:, -1:].expand(-1, len(tail))], dim=1)
        for name, value in inputs.items()
        if value.shape == ids.shape
    }
    return inputs | changed | {"input_ids": torch.cat([ids[:, :end], ids.new_tensor([tail])], dim=1)}


def alike(batch: Sequence[Inputs]) -> list[list[int]]:
    """Indices of `batch` in groups of equal token ids and equal tensor shapes, in order of appearance."""
    groups: dict[Any, list[int]] = {}
    for index, inputs in enumerate(batch):
        shapes = tuple((name, tuple(value.shape)) for name, value in sorted(inputs.items()))
        groups.setdefault((shapes, inputs["input_ids"].numpy().tobytes()), []).append(index)
    return list(groups.values())


def fork(cache: DynamicCache) -> DynamicCache:
    """A cache that grows without the original growing: layers rebind their tensors on update, so nothing is copied."""
    forked = copy.copy(cache)
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    return forked
