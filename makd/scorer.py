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
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache

from makd.architectures import check_rotary, image_token_id, logit_transforms, why_not_shared, windows
from makd.conversation import Branches, Conversation, Inputs, Reader, WholeImages, image_end
from makd.errors import UserError
from makd.estimate import Cost
from makd.packing import Pack

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
        model: folder or hub name of an image-text-to-text model.
        messages: what the user says, a text a question.
        answers: the two words, yes first.
        revision: of a hub model.
        dtype: of the weights; the two answer rows are float32 in any case.
        attention: sdpa or eager, of the language model; flash attention cannot take the mask of a pack.
        device: where the model runs.
        device_map: "auto" spreads the weights over all devices (needs accelerate) and overrules `device`.
        quantization: of the weights, by bitsandbytes: "8bit" or "4bit".
        share: False reads image and question together in any case, one forward pass a pair.
        processor_kwargs: for the processor, such as the number of tiles.

    Attributes:
        why_one_by_one: why every question needs a forward pass of its own; None where the prefix is shared.
        reader: makes of a picture what `score` takes.

    Raises:
        UserError: no such model, no chat template, an answer that is not one token in context, rotary frequencies that
            are not those of the configuration.
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
        device_map: str | None = None,
        quantization: str | None = None,
        share: bool = True,
        processor_kwargs: dict[str, Any] | None = None,
    ) -> None:
        try:
            processor = AutoProcessor.from_pretrained(model, revision=revision, **(processor_kwargs or {}))
            # "auto" would load float16 on a CPU, several times slower
            self.model = AutoModelForImageTextToText.from_pretrained(
                model,
                revision=revision,
                dtype=dtype,
                attn_implementation={"text_config": attention},
                device_map=device_map,
                quantization_config=quantization_config(quantization, dtype),
            )
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"extract_logits.model: {model} cannot be loaded: {reason}") from error
        if device_map is None and quantization is None:
            self.model.to(device)
        self.model.eval().requires_grad_(False)
        check_rotary(self.model)
        config = self.model.config
        if config.get_text_config().is_encoder_decoder:
            raise UserError(f"extract_logits.model: {type(self.model).__name__} has an encoder that reads the question")
        self.device = self.model.get_input_embeddings().weight.device
        self.dtype = dtype
        self.why_one_by_one = why_not_shared(config) if share else "extract_logits.shared_prefix is false"
        self.image_token = image_token_id(config)
        self.windows = windows(config)
        self.transforms = logit_transforms(config)
        self.head = self.model.get_output_embeddings()
        self.converse(Conversation(processor, messages, answers))

    def converse(self, conversation: Conversation) -> None:
        """Take over another list of questions."""
        self.conversation = conversation
        self.reader: Reader = conversation if self.why_one_by_one is None else WholeImages()
        answer_ids = list(conversation.answer_ids)
        self.rows = self.head.weight[answer_ids].float()
        self.bias = None if self.head.bias is None else self.head.bias[answer_ids].float()
        self.branches: Branches | None = None
        self.mask = lru_cache(MASKS_KEPT)(self.new_mask)  # a tiled model has a dozen prefix lengths for all images

    def about(self, messages: Sequence[str]) -> "Scorer":
        """A scorer of other questions on the same loaded model."""
        other = copy.copy(self)
        other.converse(Conversation(self.conversation.processor, messages, self.conversation.answers))
        return other

    def cost(self, inputs: Any) -> Cost:
        """Tokens and FLOPs of one image, counted while it is answered."""
        if self.why_one_by_one is None:
            assert self.branches is not None, "prepare() comes first"
            prefix = inputs["input_ids"].shape[1] - len(self.branches.tail) + self.branches.shared
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
            branches = self.conversation.branches(image, self.image_token)
            self.branches = replace(branches, packs=[pack.to(self.device) for pack in branches.packs])

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
        width = self.rows.shape[1]
        hidden = torch.empty(len(batch), len(questions), width, dtype=self.dtype, device=self.rows.device)
        for group in alike(batch):
            hidden[group] = self.hidden_of_alike([batch[index] for index in group])
        return hidden

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
        end = image_end(ids[0], self.image_token)
        if ids[0, end:].tolist() != self.branches.tail:
            raise RuntimeError("the text behind the image depends on the image, so it cannot be shared")
        prefix = end + self.branches.shared
        merged = self.on_device({name: torch.cat([inputs[name] for inputs in batch]) for name in batch[0]})
        # Whatever has a value a token is cut at the prefix: ids, masks, token types
        head = {
            name: value[:, :prefix] if value.shape[1:] == ids.shape[1:] else value for name, value in merged.items()
        }
        cache = DynamicCache()  # with a configuration it would drop what is outside a sliding window
        self.model.base_model(**head, past_key_values=cache, use_cache=True)
        # M-RoPE: an image takes fewer positions than tokens; left over from another image it would be silently wrong
        delta = getattr(self.model.base_model, "rope_deltas", None)
        start = prefix if delta is None else prefix + delta.to(self.device).view(-1, 1)
        found = torch.empty(
            len(batch), len(self.conversation.prompts), self.rows.shape[1], dtype=self.dtype, device=self.rows.device
        )
        for pack in self.branches.packs:
            hidden = self.model.base_model(
                input_ids=pack.ids.expand(len(batch), -1),
                attention_mask=self.mask(pack, prefix),
                position_ids=(start + pack.depth).expand(len(batch), -1),
                past_key_values=fork(cache),
                use_cache=True,
            ).last_hidden_state
            found[:, list(pack.questions)] = hidden[:, pack.last].to(found)
        return found

    def new_mask(self, pack: Pack, prefix: int) -> Mask:
        if isinstance(self.windows, dict):
            return {kind: pack.mask(prefix, self.dtype, window) for kind, window in self.windows.items()}
        return pack.mask(prefix, self.dtype, self.windows)

    def two_rows(self, hidden: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch 2"]:
        """The logits of yes and no, float32, from the last hidden state."""
        return self.transforms[0](torch.nn.functional.linear(hidden.float(), self.rows, self.bias))

    @torch.inference_mode()
    def one_by_one(self, image: Image, question: int) -> tuple[Float[Tensor, " width"], Float[Tensor, " vocabulary"]]:
        """The last hidden state and all next-token logits of one plain forward pass: what `hidden` must agree with."""
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        try:
            logits = self.model(**self.on_device(self.conversation.inputs(image, question)), logits_to_keep=1).logits
        finally:
            hook.remove()
        return seen[0].flatten(0, -2)[-1], torch.as_tensor(logits[0, -1].float().cpu())

    def on_device(self, inputs: Inputs) -> Inputs:
        """Moved to where the model begins; pixels in the dtype of the model."""
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

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
        answer_ids = list(self.conversation.answer_ids)
        difference = gap = 0.0
        for image, its_hidden in zip(images, hidden, strict=True):
            for question in chosen:
                expected, own = self.one_by_one(image, question)
                self.check_rows(expected, own[answer_ids])
                packed, alone = self.two_rows(its_hidden[question]), self.two_rows(expected)
                if not (packed.isfinite().all() and alone.isfinite().all()):
                    raise UserError(
                        f"self-test: {type(self.model).__name__} gives {packed.tolist()} for yes and no; "
                        "set extract_logits.dtype to bfloat16 or float32"
                    )
                difference = max(difference, (p_yes(packed) - p_yes(alone)).abs().item())
                gap = max(gap, (packed - alone).diff().abs().item())
        accepted = TOLERANCE[self.dtype]
        if difference > accepted or gap > GAP_TOLERANCE * accepted:
            raise UserError(
                f"self-test: {type(self.model).__name__} answers differently with a shared prefix and one by one: "
                f"max |dq| is {difference:.1g} (accepted: {accepted:g}), of z_yes - z_no {gap:.1g} (accepted: "
                f"{GAP_TOLERANCE * accepted:g}); set extract_logits.shared_prefix to false"
            )
        return self.audit(hidden.flatten(0, 1), difference)

    def check_rows(self, hidden: Float[Tensor, " width"], own: Float[Tensor, " 2"]) -> None:
        """Hold the two rows against the model's own logits, and drop what it does not do to them."""
        accepted = 1e-3 + 4 * torch.finfo(self.dtype).eps * own.abs().max().item()
        while not (self.two_rows(hidden).cpu() - own).abs().max().item() <= accepted:
            if len(self.transforms) == 1:
                raise UserError(
                    f"self-test: the logits of yes and no are {own.tolist()} in {type(self.model).__name__}, but "
                    f"{self.two_rows(hidden).tolist()} from its last hidden state; this architecture is not supported"
                )
            self.transforms = self.transforms[1:]

    def audit(self, hidden: Float[Tensor, "pairs width"], difference: float) -> "SelfTest":
        """How much of the next token's probability the two answers hold, over the whole vocabulary."""
        mass, top = [], Counter[int]()
        for state in hidden:
            probabilities = self.transforms[0](self.head(state).float()).softmax(-1)
            mass.append(probabilities[list(self.conversation.answer_ids)].sum().item())
            top[int(probabilities.argmax())] += 1
        decode = self.conversation.processor.tokenizer.decode
        tokens = Counter[str]()  # several tokens can be the same broken character
        for token, count in top.most_common(TOP_TOKENS):
            tokens[decode([token])] += count
        return SelfTest(difference, len(mass), sum(mass) / len(mass), min(mass), dict(tokens))


@dataclass(frozen=True)
class SelfTest:
    """What the self-test saw."""

    difference: float  # max |q packed - q one by one|
    pairs: int  # (image, question) pairs that the following is about
    mass: float  # mean probability that the first token is one of the two answers
    least_mass: float
    top_tokens: dict[str, int]  # the likeliest first tokens, at most ten: in how many pairs


def quantization_config(quantization: str | None, dtype: torch.dtype) -> Any:
    if quantization is None:
        return None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_8bit=quantization == "8bit",
        load_in_4bit=quantization == "4bit",
        bnb_4bit_compute_dtype=dtype,
    )


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
