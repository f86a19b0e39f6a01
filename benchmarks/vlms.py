"""Image-text models with random weights and the proportions of real ones, small enough for a CPU."""

from pathlib import Path

import transformers as hf

from benchmarks.questions import ALL
from tests.tiny_models import chat_template, save, tiny_tokenizer

TEXT = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 1024,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
VISION = {
    "hidden_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "intermediate_size": 1024,
    "patch_size": 14,
}


def save_internvl(folder: Path) -> Path:
    """InternVL: 64 tokens a tile of 224 px, up to 6 tiles and a thumbnail, so about 450 tokens an image."""
    side = {"height": 224, "width": 224}
    tokenizer = tiny_tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
        texts=[*ALL, *["user assistant"] * 50],
    )
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(size=side, crop_to_patches=True, min_patches=1, max_patches=6),
        tokenizer=tokenizer,
        video_processor=hf.InternVLVideoProcessor(size=side),
        image_seq_length=64,
        chat_template=chat_template("<IMG_CONTEXT>"),
    )
    config = hf.InternVLConfig(
        vision_config=VISION | {"image_size": [224, 224], "patch_size": [14, 14]},
        text_config=TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=64,
    )
    return save(hf.InternVLForConditionalGeneration, config, processor, folder, seed=0)


def save_llava_next(folder: Path) -> Path:
    """LLaVA-NeXT: a base image and tiles of 224 px, 256 tokens each: about 1000 tokens an image of 448 x 224."""
    tokenizer = tiny_tokenizer(image_token="<image>", texts=[*ALL, *["user assistant"] * 50])
    grid = [[224, 448], [448, 224], [448, 448]]
    processor = hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessor(
            size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, image_grid_pinpoints=grid
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>"),
    )
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, image_size=224),
        text_config=hf.LlamaConfig(**TEXT, vocab_size=len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grid,
        vision_feature_layer=-2,
        image_seq_length=256,
    )
    return save(hf.LlavaNextForConditionalGeneration, config, processor, folder, seed=0)
