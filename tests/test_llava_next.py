"""LLaVA-NeXT through the scorer, on a tiny random model of the classes of llava-hf/llava-v1.6-34b-hf.

The model: CLIP vision, a Llama, anyres tiles. The chat template is written here from the prompt that transformers
documents for that checkpoint (docs/source/en/model_doc/llava_next.md); no file of the checkpoint itself was read.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
)

from makd.scorer import Scorer, p_yes
from makd.vlm import VLM
from tests.asking import plain, score
from tests.tiny_models import tiny_tokenizer

CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nAnswer the questions.<|im_end|>{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUESTIONS = [
    "What is shown in this image?",
    "Is the tail long? The answer must be Yes or No.",
    "Does the bird have a tail that is longer than any other response to the question of this test?",
]
TILE, PATCH = 32, 8  # the real tower: 336 and 14
PINPOINTS = [[TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE], [3 * TILE, TILE], [TILE, 3 * TILE]]
SIZES = {  # width and height to tiles (rows and columns) and the patches that are left when the padding is cut off
    (64, 64): ((2, 2), 8, 8),
    (64, 32): ((1, 2), 4, 8),
    (32, 64): ((2, 1), 8, 4),
    (96, 32): ((1, 3), 4, 12),
    (32, 96): ((3, 1), 12, 4),
    (64, 48): ((2, 2), 6, 8),
    (150, 40): ((1, 3), 4, 12),  # 12 / 3.75 is 3.2 patches high: the padding is cut off in whole patches on both sides
}


def save_tiny_llava_next(folder: Path) -> Path:
    tokenizer = tiny_tokenizer(image_token="<image>")
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessor(
            size={"shortest_edge": TILE},
            crop_size={"height": TILE, "width": TILE},
            image_grid_pinpoints=PINPOINTS,
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    config = LlavaNextConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": PATCH,
            "projection_dim": 16,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": 56,
            "intermediate_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 7,  # 56 heads and 8 of keys and values in the real one
            "num_key_value_heads": 1,
            "vocab_size": len(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6},
            "initializer_range": 0.3,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(TILE // PATCH) ** 2,
    )
    torch.manual_seed(0)
    model = LlavaNextForConditionalGeneration(config)
    with torch.no_grad():  # its init makes the tower too faint for the answers to depend on the image
        for parameter in model.model.vision_tower.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llava_next(tmp_path_factory.mktemp("llava_next"))


@pytest.fixture
def scorer(folder: Path) -> Scorer:
    return Scorer(VLM(folder), QUESTIONS)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)) for width, height in SIZES]


def test_the_prompt_is_the_documented_one(scorer: Scorer) -> None:
    assert scorer.conversation.prompts[0] == (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nWhat is shown in this image?"
        "<|im_end|><|im_start|>assistant\n"
    )


def test_an_image_has_the_tokens_of_its_tiles(scorer: Scorer, images: list[Image.Image]) -> None:
    """The whole image, then the tiles without their padding and a token at the end of each row."""
    for image, ((rows, columns), height, width) in zip(images, SIZES.values(), strict=True):
        inputs = scorer.conversation.inputs(image)
        assert inputs["pixel_values"].shape == (1, 1 + rows * columns, 3, TILE, TILE)
        tokens = (inputs["input_ids"] == scorer.vlm.image_token).sum().item()
        assert tokens == (TILE // PATCH) ** 2 + height * (width + 1)


def test_packed_equals_one_by_one(scorer: Scorer, images: list[Image.Image]) -> None:
    assert scorer.self_test(images).difference <= 1e-5
    batch = [*images, images[0]]  # two alike are read together
    expected = plain(scorer, batch)
    assert (p_yes(score(scorer, batch)) - p_yes(expected)).abs().max() <= 1e-5
    assert p_yes(expected).std(dim=0).min() > 0.02, "answers that do not depend on the image prove nothing"
    assert p_yes(expected).std(dim=1).mean() > 0.1
