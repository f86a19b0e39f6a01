"""Tiny random multimodal LLMs in Hugging Face format, made from local configs: the classes of the real ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = "Does the bird have a crest? Is the tail long? Yes No answer must always be either any other response"
TEXT_CONFIG = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
VISION_CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
SIDE = {"height": 32, "width": 32}


def chat_template(image: str) -> str:
    return CHAT_TEMPLATE.replace("IMAGE", image)


def tiny_tokenizer(*special: str, texts: Sequence[str] = (TEXT,), **roles: str) -> hf.PreTrainedTokenizerFast:
    """Byte-level BPE learnt from `texts`; "Yes", "No", `special` and `roles` are one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400 if texts == (TEXT,) else 1000,
        special_tokens=list(dict.fromkeys(["<pad>", "<|im_end|>", "<|im_start|>", *special, *roles.values()])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, "Yes", "No", "Yes", "No"], trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<|im_end|>", extra_special_tokens=roles
    )


def save(model_class: type, config: Any, processor: Any, folder: Path, seed: int, louder: float = 1.0) -> Path:
    """A model of random weights; `louder` scales the output matrix where answers would hardly vary.

    The vision tower's are larger than its own initialisation: else answers would hardly depend on the image.
    """
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "language_model" not in name and "lm_head" not in name and parameter.dim() > 1:
                parameter.normal_(std=0.3)
        model.get_output_embeddings().weight.mul_(louder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def text_config(tokenizer: hf.PreTrainedTokenizerFast, model_type: str, **changes: Any) -> dict[str, Any]:
    return TEXT_CONFIG | {"model_type": model_type, "vocab_size": len(tokenizer)} | changes


def internvl_processor(
    *, tile_px: int, tokens_a_tile: int, max_tiles: int, texts: Sequence[str] = (TEXT,)
) -> hf.InternVLProcessor:
    side = {"height": tile_px, "width": tile_px}
    return hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(size=side, crop_to_patches=True, min_patches=1, max_patches=max_tiles),
        tokenizer=tiny_tokenizer(
            start_image_token="<img>",
            end_image_token="</img>",
            context_image_token="<IMG_CONTEXT>",
            video_token="<video>",
            texts=texts,
        ),
        video_processor=hf.InternVLVideoProcessor(size=side),
        image_seq_length=tokens_a_tile,
        chat_template=chat_template("<IMG_CONTEXT>"),
    )


def internvl_config(processor: hf.InternVLProcessor, vision: dict[str, Any], text: dict[str, Any]) -> hf.InternVLConfig:
    """`vision` has numbers for image_size and patch_size; `text` gets the tokenizer's vocabulary if it names none."""
    square = {key: [vision[key]] * 2 for key in ("image_size", "patch_size")}
    return hf.InternVLConfig(
        vision_config=vision | square,
        text_config={"vocab_size": len(processor.tokenizer)} | text,
        image_token_id=processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=processor.image_seq_length,
        tie_word_embeddings=text.get("tie_word_embeddings", True),
    )


def save_tiny_internvl(folder: Path, seed: int = 0, **text: Any) -> Path:
    """InternVL: 4 tokens a tile, up to 6 tiles and a thumbnail; `text` goes into the language model's configuration."""
    processor = internvl_processor(tile_px=32, tokens_a_tile=4, max_tiles=6)
    config = internvl_config(processor, VISION_CONFIG, TEXT_CONFIG | {"model_type": "qwen2"} | text)
    return save(hf.InternVLForConditionalGeneration, config, processor, folder, seed)


def llava_next_processor(
    *, tile_px: int, patch_px: int, grid: list[list[int]], texts: Sequence[str] = (TEXT,)
) -> hf.LlavaNextProcessor:
    return hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessor(
            size={"shortest_edge": tile_px},
            crop_size={"height": tile_px, "width": tile_px},
            image_grid_pinpoints=grid,
        ),
        tokenizer=tiny_tokenizer(image_token="<image>", texts=texts),
        patch_size=patch_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>"),
    )


def llava_next_config(
    processor: hf.LlavaNextProcessor, vision: dict[str, Any], text: dict[str, Any]
) -> hf.LlavaNextConfig:
    return hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**vision),
        text_config=hf.CONFIG_MAPPING[text["model_type"]](**{"vocab_size": len(processor.tokenizer)} | text),
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=processor.image_processor.image_grid_pinpoints,
        vision_feature_layer=-2,
        image_seq_length=(vision["image_size"] // vision["patch_size"]) ** 2,
    )


def save_tiny_llava_next(folder: Path, seed: int = 0, text: str = "llama", **changes: Any) -> Path:
    """LLaVA-NeXT: a base image and tiles of any aspect ratio, 16 tokens each."""
    grid = [[32, 64], [64, 32], [64, 64], [32, 96], [96, 32]]
    processor = llava_next_processor(tile_px=32, patch_px=8, grid=grid)
    config = llava_next_config(processor, VISION_CONFIG, TEXT_CONFIG | {"model_type": text} | changes)
    return save(hf.LlavaNextForConditionalGeneration, config, processor, folder, seed)


def save_tiny_llava_next_mistral(folder: Path, seed: int = 0) -> Path:
    """LLaVA-NeXT on a Mistral, all layers of which see a window shorter than the prompt."""
    return save_tiny_llava_next(folder, seed, text="mistral", sliding_window=40)


def save_tiny_llava_onevision(folder: Path, seed: int = 0) -> Path:
    """LLaVA-OneVision: SigLIP tower, Qwen2."""
    tokenizer = tiny_tokenizer(image_token="<image>", video_token="<video>")
    grid = [[32, 64], [64, 32], [64, 64], [32, 96]]
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(size=SIDE, image_grid_pinpoints=grid),
        tokenizer=tokenizer,
        video_processor=hf.LlavaOnevisionVideoProcessor(size=SIDE),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>"),
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**VISION_CONFIG, vision_use_head=False),
        text_config=hf.Qwen2Config(**text_config(tokenizer, "qwen2")),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
        vision_feature_layer=-1,
        vision_aspect_ratio="anyres_max_9",
    )
    return save(hf.LlavaOnevisionForConditionalGeneration, config, processor, folder, seed)


QWEN_SPECIAL = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def qwen_processor(processor_class: type, video_class: type, patch: int) -> Any:
    tokenizer = tiny_tokenizer(*QWEN_SPECIAL)
    pixels = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    return processor_class(
        image_processor=hf.Qwen2VLImageProcessor(patch_size=patch, merge_size=2, temporal_patch_size=2, size=pixels),
        tokenizer=tokenizer,
        video_processor=video_class(patch_size=patch, merge_size=2, temporal_patch_size=2, size=pixels),
        chat_template=chat_template("<|vision_start|><|image_pad|><|vision_end|>"),
    )


def qwen_tokens(tokenizer: hf.PreTrainedTokenizerFast) -> dict[str, int]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return dict(zip(names, tokenizer.convert_tokens_to_ids(list(QWEN_SPECIAL)), strict=True))


QWEN_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "out_hidden_size": 64,
    "intermediate_size": 64,
    "num_heads": 2,
    "patch_size": 8,
}
M_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}


def save_tiny_qwen2_vl(folder: Path, seed: int = 0) -> Path:
    """Qwen2-VL: images of any resolution, M-RoPE: an image takes fewer positions than tokens."""
    processor = qwen_processor(hf.Qwen2VLProcessor, hf.Qwen2VLVideoProcessor, patch=8)
    config = hf.Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2},
        text_config=text_config(processor.tokenizer, "qwen2_vl_text", rope_parameters=M_ROPE),
        **qwen_tokens(processor.tokenizer),
    )
    return save(hf.Qwen2VLForConditionalGeneration, config, processor, folder, seed)


def save_tiny_qwen2_5_vl(folder: Path, seed: int = 0) -> Path:
    """Qwen2.5-VL: the same with windowed attention in the tower."""
    processor = qwen_processor(hf.Qwen2_5_VLProcessor, hf.Qwen2VLVideoProcessor, patch=8)
    config = hf.Qwen2_5_VLConfig(
        vision_config=QWEN_VISION | {"window_size": 32, "fullatt_block_indexes": [1]},
        text_config=text_config(processor.tokenizer, "qwen2_5_vl_text", rope_parameters=M_ROPE),
        **qwen_tokens(processor.tokenizer),
    )
    return save(hf.Qwen2_5_VLForConditionalGeneration, config, processor, folder, seed)


def save_tiny_qwen3_vl(folder: Path, seed: int = 0) -> Path:
    """Qwen3-VL: interleaved M-RoPE, and features of several tower layers added inside the language model."""
    processor = qwen_processor(hf.Qwen3VLProcessor, hf.Qwen3VLVideoProcessor, patch=8)
    config = hf.Qwen3VLConfig(
        vision_config=QWEN_VISION | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]},
        text_config=text_config(processor.tokenizer, "qwen3_vl_text", head_dim=16, rope_parameters=M_ROPE),
        **qwen_tokens(processor.tokenizer),
    )
    return save(hf.Qwen3VLForConditionalGeneration, config, processor, folder, seed)


def save_tiny_idefics3(folder: Path, seed: int = 0, smol: bool = False) -> Path:
    """Idefics3: sub-images between row and column markers, 4 tokens each."""
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *rows)
    roles = dict(zip(("fake_image_token", "image_token", "end_of_utterance_token"), special[:3], strict=True))
    tokenizer = tiny_tokenizer(*special, **(roles | {"global_image_token": "<global-img>"} if smol else {}))
    processing = {"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 32}}
    if smol:
        processor = hf.SmolVLMProcessor(
            image_processor=hf.SmolVLMImageProcessor(**processing),
            tokenizer=tokenizer,
            video_processor=hf.SmolVLMVideoProcessor(**processing),
            image_seq_len=4,
            chat_template=chat_template("<image>"),
        )
    else:
        processor = hf.Idefics3Processor(
            image_processor=hf.Idefics3ImageProcessor(**processing),
            tokenizer=tokenizer,
            image_seq_len=4,
            chat_template=chat_template("<image>"),
        )
    config_class, model_class = (
        (hf.SmolVLMConfig, hf.SmolVLMForConditionalGeneration)
        if smol
        else (hf.Idefics3Config, hf.Idefics3ForConditionalGeneration)
    )
    config = config_class(
        vision_config=VISION_CONFIG,
        text_config=text_config(tokenizer, "llama"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    return save(model_class, config, processor, folder, seed)


def save_tiny_smolvlm(folder: Path, seed: int = 0) -> Path:
    return save_tiny_idefics3(folder, seed, smol=True)


def gemma_tokenizer() -> hf.PreTrainedTokenizerFast:
    return tiny_tokenizer(
        boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>", bos_token="<bos>"
    )


def save_tiny_gemma3(folder: Path, seed: int = 0) -> Path:
    """Gemma 3: image tokens see each other both ways; layers with a window of 24 positions between those without."""
    tokenizer = gemma_tokenizer()
    processor = hf.Gemma3Processor(
        image_processor=hf.Gemma3ImageProcessor(size=SIDE),
        tokenizer=tokenizer,
        image_seq_length=16,
        chat_template=chat_template("<start_of_image>"),
    )
    text = text_config(
        tokenizer,
        "gemma3_text",
        head_dim=16,
        sliding_window=24,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        query_pre_attn_scalar=16,
    )
    config = hf.Gemma3Config(
        vision_config=VISION_CONFIG | {"vision_use_head": False},
        text_config=text,
        mm_tokens_per_image=16,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )
    return save(hf.Gemma3ForConditionalGeneration, config, processor, folder, seed, louder=0.3)


def save_tiny_paligemma(folder: Path, seed: int = 0, text: str = "gemma", **changes: Any) -> Path:
    """PaliGemma with a chat template: its prefix sees the question, so nothing can be shared."""
    tokenizer = tiny_tokenizer(bos_token="<bos>", image_token="<image>")
    image_processor = hf.SiglipImageProcessor(size=SIDE)
    image_processor.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(
        image_processor=image_processor, tokenizer=tokenizer, chat_template=chat_template("<image>")
    )
    config = hf.PaliGemmaConfig(
        vision_config=VISION_CONFIG | {"model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=text_config(tokenizer, text, **{"head_dim": 16} | changes),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=64,
    )
    return save(hf.PaliGemmaForConditionalGeneration, config, processor, folder, seed)


def save_tiny_qwen3_5(folder: Path, seed: int = 0) -> Path:
    """Qwen3.5: recurrent layers between those with attention."""
    processor = qwen_processor(hf.Qwen3VLProcessor, hf.Qwen3VLVideoProcessor, patch=8)
    config = hf.Qwen3_5Config(
        vision_config=QWEN_VISION | {"num_position_embeddings": 64},
        text_config=text_config(
            processor.tokenizer,
            "qwen3_5_text",
            head_dim=16,
            layer_types=["linear_attention", "full_attention", "linear_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=2,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            rope_parameters=M_ROPE | {"partial_rotary_factor": 1.0},
        ),
        **qwen_tokens(processor.tokenizer),
    )
    return save(hf.Qwen3_5ForConditionalGeneration, config, processor, folder, seed, louder=0.5)


Save = Callable[[Path], Path]

SHARING: dict[str, Save] = {
    "InternVL": save_tiny_internvl,
    "LLaVA-NeXT": save_tiny_llava_next,
    "LLaVA-NeXT, Mistral": save_tiny_llava_next_mistral,
    "LLaVA-OneVision": save_tiny_llava_onevision,
    "Qwen2-VL": save_tiny_qwen2_vl,
    "Qwen2.5-VL": save_tiny_qwen2_5_vl,
    "Qwen3-VL": save_tiny_qwen3_vl,
    "Idefics3": save_tiny_idefics3,
    "SmolVLM": save_tiny_smolvlm,
    "Gemma 3": save_tiny_gemma3,
}
"""Architectures that share a prefix."""

ONE_BY_ONE: dict[str, Save] = {"PaliGemma": save_tiny_paligemma, "Qwen3.5": save_tiny_qwen3_5}
"""Architectures that cannot."""
