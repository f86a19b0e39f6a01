"""The untrained parts: tokenizer, image processor and a FastVLM (convolutional tower, projector, Qwen3), all small."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    GenerationConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen3Config,
    ResNetConfig,
)

from tools.tiny_vlm.data import IMAGE_PX

STRIDE = 16
N_IMAGE_TOKENS = (IMAGE_PX // STRIDE) ** 2
CHANNELS = 192
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25
USER, ASSISTANT, END, IMAGE, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<image>", "<|pad|>"
SPECIAL = (PAD, END, USER, ASSISTANT, IMAGE)
VOCABULARY = 1024

# Images first, wherever they stand in the message, so that all questions about an image share its tokens as a prefix.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ '{ASSISTANT}' if message['role'] == 'assistant' else '{USER}' }}}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    f"{{% for part in message['content'] if part['type'] == 'image' %}}{IMAGE}{{% endfor %}}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    f"{END}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE, so that any text has tokens; "Yes" and "No" at the start of an answer are one each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *["Yes", "No"] * 1000], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE},
        padding_side="left",
        model_max_length=2048,
    )
    for answer in ("Yes", "No"):
        assert len(fast.encode(answer)) == 1, f"{answer} must be one token"
    return fast


def make_processor(tokenizer: PreTrainedTokenizerFast) -> Any:
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_PX},
        crop_size={"height": IMAGE_PX, "width": IMAGE_PX},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )
    return LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=STRIDE,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> Any:
    vision = ResNetConfig(
        embedding_size=48, hidden_sizes=[48, 96, CHANNELS], depths=[1, 2, 1], layer_type="basic", hidden_act="relu"
    )
    vision.hidden_size = CHANNELS  # what FastVLM's projector asks for
    text = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = FastVlmConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=N_IMAGE_TOKENS,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = FastVlmForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


def render_prompt(text: str) -> str:
    """What the chat template makes of a picture and `text`, with the picture's placeholders spelt out."""
    return f"{USER}{IMAGE * N_IMAGE_TOKENS}{text}{END}{ASSISTANT}"


def to_pixels(pictures: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """What the image processor makes of pictures of IMAGE_PX: float of shape (pictures, 3, IMAGE_PX, IMAGE_PX)."""
    pixels = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float()
    return ((pixels / 255 - PIXEL_MEAN) / PIXEL_STD).contiguous(memory_format=torch.channels_last)


def save(model: Any, processor: Any, folder: Path) -> None:
    model.to("cpu", torch.float16).eval().save_pretrained(folder)
    processor.save_pretrained(folder)
