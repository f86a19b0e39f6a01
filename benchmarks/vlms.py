"""Image-text models with random weights and the proportions of real ones, small enough for a CPU."""

from pathlib import Path

import transformers as hf

from benchmarks.questions import ALL
from tests.tiny_models import internvl_config, internvl_processor, llava_next_config, llava_next_processor, save

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
    "image_size": 224,
}


TEXTS = [*ALL, *["user assistant"] * 50]
"""What the tokenizers learn, so that a word is a token, as in real ones."""


def save_internvl(folder: Path) -> Path:
    """InternVL: 64 tokens a tile of 224 px, up to 6 tiles and a thumbnail, so about 450 tokens an image."""
    processor = internvl_processor(tile_px=224, tokens_a_tile=64, max_tiles=6, texts=TEXTS)
    config = internvl_config(processor, VISION, TEXT | {"model_type": "qwen2"})
    return save(hf.InternVLForConditionalGeneration, config, processor, folder, seed=0)


def save_llava_next(folder: Path) -> Path:
    """LLaVA-NeXT: the whole image and 4 tiles of 224 px, 256 tokens each less the padding: about 1000 tokens."""
    processor = llava_next_processor(tile_px=224, patch_px=14, grid=[[224, 448], [448, 224], [448, 448]], texts=TEXTS)
    config = llava_next_config(processor, VISION, TEXT | {"model_type": "llama"})
    return save(hf.LlavaNextForConditionalGeneration, config, processor, folder, seed=0)
