"""A loaded image-text-to-text model of Hugging Face, and one plain forward pass of it."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

from makd.architectures import check_rotary, forget_lengths, image_token_id
from makd.conversation import Inputs
from makd.errors import UserError


class VLM:
    """Model and processor.

    Args:
        model: folder or hub name of an image-text-to-text model.
        revision: of a hub model.
        dtype: of the weights.
        attention: sdpa or eager, of the language model; flash attention cannot take the mask of a pack.
        device: where the model runs.
        device_map: "auto" spreads the weights over all devices (needs accelerate) and overrules `device`.
        quantization: of the weights, by bitsandbytes: "8bit" or "4bit".
        processor_kwargs: for the processor, such as the number of tiles.

    Attributes:
        device: where the model begins.
        head: the output matrix.

    Raises:
        UserError: no such model, an argument that its processor does not know, an encoder in the language model, rotary
            frequencies that are not those of the configuration.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        attention: str = "sdpa",
        device: torch.device | str = "cpu",
        device_map: str | None = None,
        quantization: str | None = None,
        processor_kwargs: dict[str, Any] | None = None,
    ) -> None:
        try:
            self.processor = AutoProcessor.from_pretrained(model, **{**(processor_kwargs or {}), "revision": revision})
            check_processor_kwargs(self.processor, processor_kwargs or {})
            # "auto" would load float16 on a CPU, several times slower
            self.model = AutoModelForImageTextToText.from_pretrained(
                model,
                revision=revision,
                dtype=dtype,
                attn_implementation={"text_config": attention},
                device_map=device_map,
                quantization_config=quantization_config(quantization, dtype),
            )
        except (OSError, ValueError, TypeError, ImportError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"extract_logits.model: {model} cannot be loaded: {reason}") from error
        if device_map is None and quantization is None:
            self.model.to(device)
        self.model.eval().requires_grad_(False)
        self.name, self.config, self.dtype = type(self.model).__name__, self.model.config, dtype
        if self.config.get_text_config().is_encoder_decoder:
            raise UserError(f"extract_logits.model: {self.name} has an encoder that reads the question")
        check_rotary(self.model)
        self.image_token = image_token_id(self.config)
        self.device = self.model.get_input_embeddings().weight.device
        self.head = self.model.get_output_embeddings()

    def to_model(self, inputs: Inputs) -> Inputs:
        """Moved to where the model begins; pixels in the dtype of the model."""
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    @torch.inference_mode()
    def forward(self, inputs: Inputs) -> tuple[Float[Tensor, " width"], Float[Tensor, " vocabulary"]]:
        """The last hidden state and all next-token logits of one prompt, read plainly from its beginning to its end."""
        forget_lengths(self.model)
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        try:
            logits = self.model(**self.to_model(inputs), logits_to_keep=1).logits
        finally:
            hook.remove()
        return seen[0].flatten(0, -2)[-1], torch.as_tensor(logits[0, -1].float().cpu())


def check_processor_kwargs(processor: Any, kwargs: dict[str, Any]) -> None:
    """Refuse what transformers would pass over in silence: a misspelt name changes nothing but the store's key.

    Raises:
        UserError: a name that neither the processor nor its image processor or tokenizer has.
    """
    images = getattr(processor, "image_processor", None)
    known = {"backend", "use_fast", *getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})}
    parts = [processor, images, getattr(processor, "tokenizer", None)]
    for name in kwargs:
        if name not in known and not any(hasattr(part, name) for part in parts):
            raise UserError(
                f"extract_logits.processor: {name!r} is no argument of {type(processor).__name__}; expected one of "
                f"{', '.join(sorted(known))}"
            )


def quantization_config(quantization: str | None, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if quantization is None:
        return None
    eight = quantization == "8bit"
    return BitsAndBytesConfig(load_in_8bit=eight, load_in_4bit=not eight, bnb_4bit_compute_dtype=dtype)
