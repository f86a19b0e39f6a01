"""Tokenizer, image tiling and chat template of the published model, as an `InternVLProcessor`."""

import json
from pathlib import Path
from typing import Any

from transformers import (
    GotOcr2ImageProcessor,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)

from makd.errors import UserError
from tools.convert_internvl2.chat import CONTEXT
from tools.convert_internvl2.configuration import image_tokens, language_model
from tools.convert_internvl2.sentencepiece_bpe import AddedTokens, read_sentencepiece, to_tokenizer

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""As in the model card's `build_transform`; the native image processor has CLIP's by default."""

BICUBIC = 3

ROLES = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": CONTEXT,
    # Which the processor cannot do without. InternVL2 has no such token: it comes behind the vocabulary, and a text
    # that has the word in it is refused by the processor as a video that is not there
    "video_token": "<video>",
}


def make_tokenizer(source: Path, published: dict[str, Any]) -> PreTrainedTokenizerFast:
    """The published tokenizer without remote code.

    Raises:
        UserError: a file is missing, the tokenizer is of a kind that is not supported, or it lacks the image tokens.
    """
    settings = json.loads(needed(source, "tokenizer_config.json").read_text(encoding="utf-8"))
    if language_model(published) == "InternLM2ForCausalLM":
        tokenizer = internlm2_tokenizer(source, settings)
    elif language_model(published) == "Qwen2ForCausalLM":
        needed(source, "vocab.json"), needed(source, "merges.txt")
        tokenizer = Qwen2Tokenizer.from_pretrained(source, extra_special_tokens=ROLES)
    else:
        needed(source, "tokenizer.json")
        tokenizer = PreTrainedTokenizerFast.from_pretrained(source, extra_special_tokens=ROLES)
    size = published["llm_config"]["vocab_size"]
    for token in (ROLES["start_image_token"], ROLES["end_image_token"], CONTEXT):
        number = tokenizer.convert_tokens_to_ids(token)
        if number is None or number == tokenizer.unk_token_id or number >= size:
            raise UserError(f"{source}: the tokenizer has no {token} among the {size} tokens of the language model")
    return tokenizer


def needed(source: Path, name: str) -> Path:
    if not (source / name).is_file():
        raise UserError(f"{source / name} is missing; download all files of the published model")
    return source / name


def internlm2_tokenizer(source: Path, settings: dict[str, Any]) -> PreTrainedTokenizerFast:
    """What tokenization_internlm2.py does: sentencepiece between the added tokens, and BOS in front."""
    if settings.get("add_eos_token"):
        raise UserError(f"{source / 'tokenizer_config.json'}: add_eos_token is not supported")
    added: AddedTokens = {int(number): token for number, token in settings.get("added_tokens_decoder", {}).items()}
    special = {name: text(settings.get(name), default) for name, default in SPECIAL.items()}
    pieces = read_sentencepiece(needed(source, "tokenizer.model"))
    bos = special["bos_token"] if settings.get("add_bos_token", True) else None
    return PreTrainedTokenizerFast(
        tokenizer_object=to_tokenizer(pieces, added, bos),
        extra_special_tokens=ROLES,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=settings.get("model_max_length"),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        **special,
    )


SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
"""Defaults of InternLM2Tokenizer."""


def text(token: str | dict[str, Any] | None, default: str) -> str:
    """A token in tokenizer_config.json is a string, or a dict with its content."""
    return default if token is None else str(token["content"]) if isinstance(token, dict) else token


def make_processor(
    tokenizer: PreTrainedTokenizerFast, published: dict[str, Any], chat_template: str
) -> InternVLProcessor:
    """Tiles of 448 px by the nearest aspect ratio, and a thumbnail where there is more than one."""
    tokenizer.chat_template = None  # of the language model alone: knows no images
    px = published["vision_config"]["image_size"]
    size = {"height": px, "width": px}
    images = GotOcr2ImageProcessor(
        size=size,
        resample=BICUBIC,
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
        crop_to_patches=True,
        min_patches=published["min_dynamic_patch"],
        max_patches=published["max_dynamic_patch"],
    )
    return InternVLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD),
        image_seq_length=image_tokens(published),
        chat_template=chat_template,
    )
