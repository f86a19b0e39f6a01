"""P(yes) from a Hugging Face image-text model: the image once, the prompt up to the question once, then all questions.

q of Eq. (1) in arXiv 2501.13341 needs two numbers a question: the logits of yes and no as first token of the answer.
One forward pass an (image, question) pair reads the image Q times; here the prefix is read once into a cache and all
questions follow as branches of one sequence (packing.py). The last hidden state times two rows of the output matrix,
in float32, gives the logits: in bfloat16 they would lie on a grid of 0.125.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache

from makd.conversation import Branches, Conversation, Inputs, image_end
from makd.errors import UserError

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""Largest |q packed - q one by one| that the self-test accepts; a wrong mask or position gives 0.05 to 0.5."""


class Scorer:
    """A multimodal LLM that answers a fixed list of questions.

    Args:
        model: folder or hub name of an image-text-to-text model.
        messages: what the user says, a text a question.
        answers: the two words, yes first.
        revision: of a hub model.
        dtype: of the weights; the two answer rows are float32 in any case.
        attention: sdpa or eager, of the language model; flash attention cannot take the mask of a pack.
        device: where the model runs.
        processor_kwargs: for the processor, such as the number of tiles.

    Raises:
        UserError: no such model, no chat template, an answer that is not one token in context.
    """

    def __init__(
        self,
        model: str | Path,
        messages: Sequence[str],
        *,
        answers: tuple[str, str] = ("Yes", "No"),
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        attention: str = "sdpa",
        device: torch.device | str = "cpu",
        processor_kwargs: dict[str, Any] | None = None,
    ) -> None:
        try:
            processor = AutoProcessor.from_pretrained(model, revision=revision, **(processor_kwargs or {}))
            # "auto" would load float16 on a CPU, several times slower
            self.model = AutoModelForImageTextToText.from_pretrained(
                model, revision=revision, dtype=dtype, attn_implementation={"text_config": attention}
            )
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"extract_logits.model: {model} cannot be loaded: {reason}") from error
        self.device = torch.device(device)
        self.model.to(self.device).eval().requires_grad_(False)
        self.conversation = Conversation(processor, messages, answers)
        self.image_token = image_token_id(self.model.config)
        answer_ids = list(self.conversation.answer_ids)
        head = self.model.get_output_embeddings()
        self.rows = head.weight[answer_ids].float()
        self.bias = None if head.bias is None else head.bias[answer_ids].float()
        self.branches: Branches | None = None

    def prepare(self, image: Image) -> None:
        """Cut the questions into branches, by the prompts of one real image. Needed before `score`."""
        branches = self.conversation.branches(image, self.image_token)
        self.branches = replace(branches, packs=[pack.to(self.device) for pack in branches.packs])

    @torch.inference_mode()
    def score(self, batch: Sequence[Inputs]) -> Float[Tensor, "images questions 2"]:
        """The logits of yes and no, float32 on the CPU, for `conversation.inputs(image)` of each image."""
        logits = torch.empty(len(batch), len(self.conversation.prompts), 2)
        for group in alike(batch):
            logits[group] = self.score_alike([batch[index] for index in group]).cpu()
        return logits

    def score_alike(self, batch: Sequence[Inputs]) -> Float[Tensor, "images questions 2"]:
        """Images whose prompts are equal token by token, in one go."""
        assert self.branches is not None, "prepare() comes first"
        ids = batch[0]["input_ids"]
        end = image_end(ids[0], self.image_token)
        if ids[0, end:].tolist() != self.branches.tail:
            raise RuntimeError("the text behind the image depends on the image, so it cannot be shared")
        prefix = end + self.branches.shared
        merged = {name: torch.cat([inputs[name] for inputs in batch]).to(self.device) for name in batch[0]}
        # Whatever has a value a token is cut at the prefix: ids, masks, token types
        head = {
            name: value[:, :prefix] if value.shape[1:] == ids.shape[1:] else value for name, value in merged.items()
        }
        cache = DynamicCache()
        self.model.base_model(**head, past_key_values=cache, use_cache=True)
        logits = []
        for pack in self.branches.packs:
            hidden = self.model.base_model(
                input_ids=pack.ids.expand(len(batch), -1),
                attention_mask=pack.mask(prefix, self.model.dtype),
                position_ids=(prefix + pack.depth).expand(len(batch), -1),
                past_key_values=fork(cache),
                use_cache=True,
            ).last_hidden_state
            logits.append(self.two_rows(hidden[:, pack.last]))
        return torch.cat(logits, dim=1)

    def two_rows(self, hidden: Float[Tensor, "images questions width"]) -> Float[Tensor, "images questions 2"]:
        return torch.nn.functional.linear(hidden.float(), self.rows, self.bias)

    @torch.inference_mode()
    def one_by_one(self, image: Image, question: int) -> Float[Tensor, " vocabulary"]:
        """All next-token logits of one plain forward pass: what `score` must agree with."""
        inputs = {name: value.to(self.device) for name, value in self.conversation.inputs(image, question).items()}
        return torch.as_tensor(self.model(**inputs, logits_to_keep=1).logits[0, -1].float().cpu())

    def self_test(self, images: Sequence[Image]) -> "SelfTest":
        """Prepare, then compare `score` with one forward pass a question, on real images and prompts.

        Raises:
            UserError: they differ by more than TOLERANCE: this architecture cannot share a prefix in this way.
        """
        self.prepare(images[0])
        prompts = self.conversation.prompts
        longest = max(range(len(prompts)), key=lambda index: len(prompts[index]))
        chosen = sorted({0, longest, len(prompts) - 1})
        packed = self.score([self.conversation.inputs(image) for image in images])[:, chosen]
        full = torch.stack([torch.stack([self.one_by_one(image, question) for question in chosen]) for image in images])
        answer_ids = list(self.conversation.answer_ids)
        difference = (p_yes(packed) - p_yes(full[..., answer_ids])).abs().max().item()
        accepted = TOLERANCE[self.model.dtype]
        if not difference <= accepted:  # also where either is NaN
            raise UserError(
                f"self-test: {type(self.model).__name__} answers differently with a shared prefix and one by one: "
                f"max |dq| is {difference:.1g}, accepted is {accepted:g}; this architecture is not supported"
            )
        mass = full.softmax(-1)[..., answer_ids].sum(-1).mean().item()
        return SelfTest(difference, mass, self.conversation.processor.tokenizer.decode([int(full[0, 0].argmax())]))


@dataclass(frozen=True)
class SelfTest:
    """What the self-test saw."""

    difference: float  # max |q packed - q one by one|
    mass: float  # mean probability that the first token is one of the two answers
    top: str  # the token that the model would rather say first


def p_yes(logits: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Eq. (1): softmax over the logits of yes and no, the share of yes."""
    return logits.softmax(-1)[..., 0]


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


def image_token_id(config: Any) -> int:
    for name in ("image_token_id", "image_token_index"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    raise UserError(f"{type(config).__name__} names no image token; this architecture is not supported")
