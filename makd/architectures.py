"""What differs between image-text models where a prefix is shared: what can be, what a mask needs, what a head adds."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from makd.errors import UserError

QUESTION_REACHES_THE_PREFIX = {
    "paligemma": "its image tokens attend to the question",
    "instructblip": "its Q-Former reads the question",
    "instructblipvideo": "its Q-Former reads the question",
    "mllama": "its image enters by cross-attention, which has masks of its own",
}
MASKED_LAYERS = {"full_attention", "sliding_attention"}

Transform = Callable[[Float[Tensor, "*shape"]], Float[Tensor, "*shape"]]


def why_not_shared(config: Any) -> str | None:
    """Why a model must read image and question together, one by one; None where a prefix can be shared."""
    if config.model_type in QUESTION_REACHES_THE_PREFIX:
        return QUESTION_REACHES_THE_PREFIX[config.model_type]
    other = sorted(set(layer_types(config)) - MASKED_LAYERS)
    return f"it has layers of the kind {', '.join(other)}, which take no mask" if other else None


def layer_types(config: Any) -> list[str]:
    return list(getattr(config.get_text_config(), "layer_types", None) or [])


def windows(config: Any) -> dict[str, int | None] | int | None:
    """Which window of positions each kind of layer sees; a mask a kind where there are several, else one for all."""
    window = getattr(config.get_text_config(), "sliding_window", None)
    kinds = layer_types(config)
    if "sliding_attention" in kinds:
        return {"full_attention": None, "sliding_attention": window}
    return None if kinds else window  # without a list (Mistral), all layers slide


def logit_transforms(config: Any) -> list[Transform]:
    """What a model may do to the product of hidden state and output matrix: nothing, or what its configuration says.

    Gemma caps it, Cohere and Granite scale it, and some classes forget to: the self-test finds out which holds.
    """
    text = config.get_text_config()
    factor = (getattr(text, "logit_scale", None) or 1.0) / (getattr(text, "logits_scaling", None) or 1.0)
    cap = getattr(text, "final_logit_softcapping", None)

    def configured(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        logits = logits * factor
        return logits if cap is None else cap * torch.tanh(logits / cap)

    return [configured, as_it_is]


def as_it_is(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return logits


def frequencies_vary(config: Any, prefix: int, total: int) -> bool:
    """Whether a prompt's rotary frequencies depend on its own length, where it has between `prefix` and `total` tokens.

    "dynamic" makes them anew for every length beyond the original one, "longrope" has two sets that change over there.
    """
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    each = [values for values in parameters.values() if isinstance(values, dict)] or [parameters]
    for values in each:
        if "dynamic" in values.get("rope_type", "") and total > text.max_position_embeddings:
            return True
        if values.get("rope_type") == "longrope" and prefix <= values["original_max_position_embeddings"] < total:
            return True
    return False


def forget_lengths(model: nn.Module) -> None:
    """Back to the frequencies of short prompts: "dynamic" keeps those of the longest that it has seen."""
    for _, module, _ in rotary_buffers(model):
        types = getattr(module, "rope_type", None)
        for layer_type, rope_type in types.items() if isinstance(types, dict) else [(None, types)]:
            if "dynamic" in (rope_type or ""):
                prefix = "" if layer_type is None else f"{layer_type}_"
                buffer = getattr(module, f"{prefix}inv_freq")
                original = getattr(module, f"{prefix}original_inv_freq").to(buffer.device)
                module.register_buffer(f"{prefix}inv_freq", original, persistent=False)
                setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def image_token_id(config: Any) -> int:
    for name in ("image_token_id", "image_token_index"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    raise UserError(f"{type(config).__name__} names no image token; this architecture is not supported")


def check_rotary(model: nn.Module) -> None:
    """Refuse a model whose rotary frequencies are not those of its configuration.

    They are in no checkpoint. Loaders leave such buffers as uninitialised memory where a class does not fill them again
    (https://github.com/huggingface/transformers/issues/48892): answers are finite and wrong, and agree with themselves.

    Raises:
        UserError: the frequencies of a module differ from those of a new one.
    """
    for name, module, found in rotary_buffers(model):
        with torch.device("cpu"):
            expected = dict(type(module)(config=module.config).named_buffers(recurse=False))
        for buffer, values in found.items():
            rtol = 2 * torch.finfo(values.dtype).eps
            if not torch.allclose(values.cpu().double(), expected[buffer].double(), rtol=rtol):
                raise UserError(
                    f"extract_logits.model: {name}.{buffer} of {type(model).__name__} is not what its configuration "
                    "says; the model was loaded wrongly, its answers would be noise"
                )


def rotary_buffers(model: nn.Module) -> Iterator[tuple[str, nn.Module, dict[str, Tensor]]]:
    """Modules that compute rotary frequencies from a configuration, with those frequencies."""
    for name, module in model.named_modules():
        found = {buffer: values for buffer, values in module.named_buffers(recurse=False) if "inv_freq" in buffer}
        if found and hasattr(module, "config"):
            yield name, module, found
