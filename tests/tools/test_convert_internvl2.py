"""A tiny random InternVL2, converted: the same prompt, the same tiles, the same logits as the published code gives."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    InternVLModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from makd.errors import UserError
from makd.scorer import Scorer, p_yes
from makd.vlm import VLM
from tests.asking import plain, score
from tests.tiny_models import tiny_tokenizer
from tests.tools.published_internvl2 import (
    ADDED,
    IDS,
    SYSTEM,
    TOKENIZER,
    logits,
    published_config,
    published_shapes,
    random_state,
    save_published,
)
from tools.convert_internvl2 import weights
from tools.convert_internvl2.__main__ import main
from tools.convert_internvl2.convert import convert
from tools.convert_internvl2.sentencepiece_bpe import read_sentencepiece, to_tokenizer

LARGE_TOWER = {"norm_type": "rms_norm", "qk_normalization": True, "qkv_bias": False}
"""What InternViT-6B of the larger siblings has."""

QUESTIONS = [
    "Does the bird have a crest?\nAnswer Yes or No.",
    "Is the tail long?\nAnswer Yes or No.",
    "Does the bird have a tail that is longer than 12  other birds' tails?\nAnswer Yes or No.",
]
SHORT, LONG = (32, 32), (96, 128)  # 1 tile; 12 tiles and a thumbnail, beyond max_position_embeddings
ENCODINGS: dict[str, list[int]] = dict(
    json.loads((TOKENIZER / "encodings.json").read_text(encoding="utf-8"))["encodings"]
)


def quiet(_: str) -> None: ...


def make(folder: Path, **vision: Any) -> tuple[dict[str, Any], dict[str, Tensor], Path]:
    config = published_config(**vision)
    state = random_state(published_shapes(config))
    return config, state, save_published(folder, config, state)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("internvl2")
    convert(make(folder / "published")[2], folder / "native", quiet)
    return folder / "native"


@pytest.fixture(scope="module")
def images() -> dict[tuple[int, int], Image.Image]:
    rng = np.random.default_rng(0)
    return {
        size: Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
        for size in (SHORT, LONG, (64, 32))
    }


def difference(
    native: Path, config: dict[str, Any], state: dict[str, Tensor], image: Image.Image
) -> tuple[float, int, float]:
    """Largest difference of a logit, number of tokens, and how much the logits vary."""
    processor = AutoProcessor.from_pretrained(native)
    model = AutoModelForImageTextToText.from_pretrained(native, dtype=torch.float64).eval()
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTIONS[2]}]}]
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
    inputs = processor(images=[image], text=[prompt], return_tensors="pt")
    with torch.inference_mode():
        found = model(**inputs).logits[0]
    expected = logits(config, state, inputs["input_ids"][0], inputs["pixel_values"])
    return (found - expected).abs().max().item(), len(expected), expected.std().item()


@pytest.mark.parametrize("tower", [{}, LARGE_TOWER], ids=["InternViT-300M", "InternViT-6B"])
def test_logits_are_those_of_the_published_forward_pass(
    tmp_path: Path, images: dict[tuple[int, int], Image.Image], tower: dict[str, Any]
) -> None:
    config, state, source = make(tmp_path / "published", **tower)
    convert(source, tmp_path / "native", quiet)
    longest = config["llm_config"]["max_position_embeddings"]
    for size, beyond in ((SHORT, False), (LONG, True)):
        worst, tokens, spread = difference(tmp_path / "native", config, state, images[size])
        assert (tokens > longest) == beyond
        assert spread > 0.1
        assert worst <= 1e-5


def swap(table: dict[str, str], one: str, other: str) -> dict[str, str]:
    first, second = (next(pattern for pattern in table if pattern.endswith(end)) for end in (one, other))
    return table | {first: table[second], second: table[first]}


def blocks(tensor: Tensor, text: Any) -> tuple[Tensor, Tensor, Tensor]:
    """All queries, then all keys, then all values: how most models fuse them."""
    keys = text.num_key_value_heads * text.head_dim
    return tensor[: -2 * keys], tensor[-2 * keys : -keys], tensor[-keys:]


def transposed(self: InternVLModel, features: Tensor, scale_factor: float) -> Tensor:
    shuffled: Tensor = PIXEL_SHUFFLE(self, features, scale_factor)
    return shuffled.transpose(1, 2)


PIXEL_SHUFFLE = InternVLModel.pixel_shuffle
VISION = weights.VISION_AND_PROJECTOR
BREAKAGES: dict[str, tuple[str, Any]] = {
    "w1 is w3": ("tools.convert_internvl2.weights.INTERNLM2", swap(weights.INTERNLM2, r"w1\.weight", r"w3\.weight")),
    "norms swapped": (
        "tools.convert_internvl2.weights.INTERNLM2",
        swap(weights.INTERNLM2, r"attention_norm\.weight", r"ffn_norm\.weight"),
    ),
    "wqkv in three blocks": ("tools.convert_internvl2.weights.split_grouped", blocks),
    "vision norms swapped": (
        "tools.convert_internvl2.weights.VISION_AND_PROJECTOR",
        swap(VISION, r"norm1\.(\w+)", r"norm2\.(\w+)"),
    ),
    "no rope scaling": (
        "tools.convert_internvl2.configuration.rope_parameters",
        lambda language: {"rope_type": "default", "rope_theta": float(language["rope_theta"])},
    ),
    "another rope base": (
        "tools.convert_internvl2.configuration.rope_parameters",
        lambda language: {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
    ),
    "pixel shuffle of version 1": ("transformers.InternVLModel.pixel_shuffle", transposed),
}


@pytest.mark.parametrize("broken", BREAKAGES)
def test_a_wrong_conversion_does_not_pass(
    tmp_path: Path, images: dict[tuple[int, int], Image.Image], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(*BREAKAGES[broken])
    config, state, source = make(tmp_path / "published")
    convert(source, tmp_path / "native", quiet)
    assert difference(tmp_path / "native", config, state, images[LONG])[0] > 1e-3
    if broken == "no rope scaling":
        assert difference(tmp_path / "native", config, state, images[SHORT])[0] <= 1e-5


def test_the_scorer_takes_it(converted: Path, images: dict[tuple[int, int], Image.Image]) -> None:
    scorer = Scorer(VLM(converted), QUESTIONS)
    prompt = scorer.conversation.prompts[0]
    assert prompt == (
        f"<|im_start|>system\n{SYSTEM}<|im_end|><|im_start|>user\n<IMG_CONTEXT>\n{QUESTIONS[0]}<|im_end|>"
        "<|im_start|>assistant\n"
    )
    assert list(scorer.conversation.answer_ids) == [*ENCODINGS["Yes"], *ENCODINGS["No"]]
    # Below the maximum length: there one base of the rotary positions holds for all sequences
    some = [images[SHORT], images[64, 32]]
    assert scorer.self_test(some).difference <= 1e-5
    expected = p_yes(plain(scorer, some))
    assert (p_yes(score(scorer, some)) - expected).abs().max() <= 1e-5
    assert expected.std() > 0.05


def test_token_ids_are_those_of_the_published_tokenizer(
    converted: Path, images: dict[tuple[int, int], Image.Image]
) -> None:
    """BOS in front, sentencepiece between the added tokens, an <IMG_CONTEXT> for four patches of each tile."""
    scorer = Scorer(VLM(converted), QUESTIONS)
    for size, tiles in ((SHORT, 1), (LONG, 13), ((64, 32), 3)):
        ids = scorer.conversation.inputs(images[size])["input_ids"][0].tolist()
        assert ids == [
            *(IDS["<s>"], IDS["<|im_start|>"], *ENCODINGS["system\n" + SYSTEM], IDS["<|im_end|>"]),
            *(IDS["<|im_start|>"], *ENCODINGS["user\n"]),
            *(IDS["<img>"], *[IDS["<IMG_CONTEXT>"]] * 4 * tiles, IDS["</img>"]),
            *(*ENCODINGS["\n" + QUESTIONS[0]], IDS["<|im_end|>"]),
            *(IDS["<|im_start|>"], *ENCODINGS["assistant\n"]),
        ]


def test_texts_are_cut_as_sentencepiece_cuts_them(converted: Path) -> None:
    """Recorded with the sentencepiece package, which is not needed here; encodings.json says how."""
    tokenizer = AutoProcessor.from_pretrained(converted).tokenizer
    for text, ids in ENCODINGS.items():
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids, text
        assert tokenizer.decode(ids) == text.replace("▁", " ")
    assert {tokenizer.convert_tokens_to_ids(token): token for token in ADDED.values()} == ADDED


def test_a_dummy_prefix_is_a_space_in_front() -> None:
    pieces = read_sentencepiece(TOKENIZER / "tokenizer.model")
    assert not pieces.dummy_prefix
    plain = to_tokenizer(pieces, {}, bos=None)
    prefixed = to_tokenizer(type(pieces)(pieces.vocabulary, True, b"", False, dummy_prefix=True), {}, bos=None)
    assert prefixed.encode("bird").ids == plain.encode(" bird").ids


def published_tiles(width: int, height: int, most: int, px: int) -> tuple[int, int]:
    """Columns and rows by `find_closest_aspect_ratio` of the model card."""
    grids = sorted(
        {(i, j) for i in range(1, most + 1) for j in range(1, most + 1) if i * j <= most},
        key=lambda grid: grid[0] * grid[1],
    )
    best, best_distance = (1, 1), float("inf")
    for grid in grids:
        distance = abs(width / height - grid[0] / grid[1])
        if distance < best_distance or (
            distance == best_distance and width * height > 0.5 * px * px * grid[0] * grid[1]
        ):
            best, best_distance = grid, distance
    return best


def test_tiles_are_those_of_the_model_card(converted: Path) -> None:
    """Same grid and order, pixels within what two implementations of bicubic differ by."""
    processor = AutoProcessor.from_pretrained(converted).image_processor
    rng = np.random.default_rng(1)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for width, height in ((40, 40), (100, 50), (50, 100), (90, 60), (33, 200), (128, 96), (31, 29)):
        smooth = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)
        columns, rows = published_tiles(width, height, 12, 32)
        resized = image.resize((32 * columns, 32 * rows), Image.Resampling.BICUBIC)
        tiles = [
            resized.crop((32 * column, 32 * row, 32 * column + 32, 32 * row + 32))
            for row in range(rows)
            for column in range(columns)
        ]
        if len(tiles) > 1:
            tiles.append(image.resize((32, 32), Image.Resampling.BICUBIC))
        expected = np.stack([((np.asarray(tile) / 255 - mean) / std).transpose(2, 0, 1) for tile in tiles])
        found = processor([image], crop_to_patches=True, return_tensors="pt")["pixel_values"].numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() * std.min() * 255 <= 2.001


def test_the_published_numbers_arrive_in_the_config(converted: Path) -> None:
    config = json.loads((converted / "config.json").read_text())
    text = config["text_config"]
    assert text["model_type"] == "llama"
    assert text["rope_parameters"] == {"rope_type": "dynamic", "rope_theta": 1e6, "factor": 2.0}
    assert (text["rms_norm_eps"], text["pad_token_id"], text["eos_token_id"]) == (1e-5, 2, 2)
    assert (config["image_token_id"], config["image_seq_length"]) == (IDS["<IMG_CONTEXT>"], 4)
    assert config["tie_word_embeddings"] is False
    assert json.loads((converted / "generation_config.json").read_text())["eos_token_id"] == IDS["<|im_end|>"]
    processor = AutoProcessor.from_pretrained(converted)
    assert (processor.image_processor.min_patches, processor.image_processor.max_patches) == (1, 12)


def test_shards_stay_shards_and_equal_inputs_give_equal_bytes(converted: Path, tmp_path: Path) -> None:
    convert(make(tmp_path / "published")[2], tmp_path / "native", quiet)
    files = sorted(file.name for file in tmp_path.joinpath("native").iterdir())
    assert [name for name in files if name.endswith(".safetensors")] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert sorted(file.name for file in converted.iterdir()) == files
    assert all((tmp_path / "native" / name).read_bytes() == (converted / name).read_bytes() for name in files)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["native", "published"], "nothing else is left behind"


def test_the_known_system_message_serves_where_conversation_py_is_missing(tmp_path: Path, converted: Path) -> None:
    source = make(tmp_path / "published")[2]
    (source / "conversation.py").unlink()
    convert(source, tmp_path / "native", quiet)
    name = "chat_template.jinja"
    assert (tmp_path / "native" / name).read_text() == (converted / name).read_text()


def test_a_conversation_goes_on_as_published(converted: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Two."}]},
        {"role": "user", "content": [{"type": "text", "text": "{{ 3 }}"}]},
    ]
    assert AutoProcessor.from_pretrained(converted).apply_chat_template(turns) == (
        "<|im_start|>system\nBe brief.<|im_end|><|im_start|>user\nOne?<|im_end|>"
        "<|im_start|>assistant\nTwo.<|im_end|><|im_start|>user\n{{ 3 }}<|im_end|>"
    )


NATIVE_LANGUAGE_MODELS = {
    "Qwen2ForCausalLM": (Qwen2Config, Qwen2ForCausalLM),  # InternVL2-1B
    "LlamaForCausalLM": (LlamaConfig, LlamaForCausalLM),  # InternVL2-40B and InternVL2-Llama3-76B
}


@pytest.mark.parametrize("architecture", NATIVE_LANGUAGE_MODELS)
def test_a_native_language_model_keeps_its_logits(tmp_path: Path, architecture: str) -> None:
    config = published_config()
    llm, size = config["llm_config"], save_native_tokenizer(tmp_path / "published", architecture)
    config["llm_config"] = llm | {"architectures": [architecture], "vocab_size": size, "rope_scaling": None}
    config["template"] = "Hermes-2"
    config_class, model_class = NATIVE_LANGUAGE_MODELS[architecture]
    torch.manual_seed(0)
    language = model_class(
        config_class(
            **{name: llm[name] for name in llm if name.startswith(("hidden", "num_", "rms", "max_", "intermediate"))},
            vocab_size=size,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            initializer_range=0.3,
        )
    ).eval()
    state = random_state(published_shapes(config))
    state = {name: tensor for name, tensor in state.items() if not name.startswith("language_model")}
    state |= {"language_model." + name: tensor.clone() for name, tensor in language.state_dict().items()}
    source = save_published(tmp_path / "published", config, state, tokenizer=False)
    convert(source, tmp_path / "native", quiet)
    scorer = Scorer(VLM(tmp_path / "native"), QUESTIONS)
    assert scorer.conversation.prompts[0].startswith("<|im_start|>system\nanother<|im_end|>")
    assert scorer.conversation.processor.tokenizer.decode([scorer.vlm.image_token]) == "<IMG_CONTEXT>"
    ids = torch.tensor([scorer.conversation.ids(QUESTIONS[2])])
    with torch.inference_mode():
        assert (scorer.vlm.model(input_ids=ids).logits - language(input_ids=ids).logits).abs().max() <= 1e-5


def save_native_tokenizer(folder: Path, architecture: str) -> int:
    """A vocabulary with merges for Qwen2, a tokenizer.json for Llama; the number of tokens."""
    tokenizer = tiny_tokenizer("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    tokenizer.save_pretrained(folder)
    if architecture == "Qwen2ForCausalLM":
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        (folder / "merges.txt").write_text(
            "#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in model["merges"])
        )
        added = {
            str(number): {"content": token.content, "special": True, "normalized": False}
            for number, token in tokenizer.added_tokens_decoder.items()
        }
        settings = {"added_tokens_decoder": added, "tokenizer_class": "Qwen2Tokenizer"}
        settings |= {"eos_token": "<|im_end|>", "pad_token": "<pad>", "chat_template": "{{ 'of the language model' }}"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(tokenizer)


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(source: Path) -> None:
        file = source / "config.json"
        config = json.loads(file.read_text())
        for name, value in changes.items():
            if isinstance(value, dict):
                config[name] = config[name] | value
            else:
                config[name] = value
        file.write_text(json.dumps(config))

    return edit


def edit_state(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def edit(source: Path) -> None:
        config = json.loads((source / "config.json").read_text())
        state = {name: tensor for file in source.glob("*.safetensors") for name, tensor in load_file(file).items()}
        change(state)
        save_published(source, config, state)

    return edit


def remove(name: str) -> Callable[[Path], None]:
    return lambda source: (source / name).unlink()


def truncate(source: Path) -> None:
    file = source / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def rename_template(source: Path) -> None:
    file = source / "conversation.py"
    file.write_text(file.read_text(encoding="utf-8").replace("internlm2-chat", "other-chat"), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (remove("config.json"), "config.json is missing; download"),
        (remove("tokenizer_config.json"), "tokenizer_config.json is missing; download"),
        (remove("tokenizer.model"), "tokenizer.model is missing; download"),
        (remove("model-00002-of-00002.safetensors"), "model-00002-of-00002.safetensors missing; download"),
        (truncate, "model-00002-of-00002.safetensors cannot be read"),
        (rename_template, "has no template 'internlm2-chat'"),
        (edit_config(llm_config={"architectures": ["Phi3ForCausalLM"]}), "language model Phi3ForCausalLM is not supp"),
        (
            edit_config(llm_config={"rope_scaling": {"type": "su", "factor": 2.0}}),
            "rope_scaling: 'su' is not supported",
        ),
        (edit_config(model_type="llava"), "model_type is 'llava', supported is 'internvl_chat'"),
        (edit_config(ps_version="v1"), "ps_version is 'v1', supported is 'v2'"),
        (
            edit_config(llm_config={"num_hidden_layers": 1}),
            "no place in the native model: model.language_model.layers.1",
        ),
        (edit_config(llm_config={"num_hidden_layers": 3}), "weights missing: model.language_model.layers.2"),
        (
            edit_config(llm_config={"intermediate_size": 40}),
            "weights of another shape than config.json says: .* instead",
        ),
        (edit_state(lambda state: state.update(surplus=torch.zeros(1))), "no place in the native model: surplus"),
        (edit_state(lambda state: state.pop("mlp1.3.bias")), "missing: model.multi_modal_projector.linear_2.bias"),
        (edit_state(lambda state: state.pop("language_model.output.weight")), "weights missing: lm_head.weight"),
    ],
)
def test_what_cannot_be_converted_is_said_in_one_line(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    source = make(tmp_path / "published")[2]
    spoil(source)
    with pytest.raises(UserError, match=said) as error:
        convert(source, tmp_path / "native", quiet)
    assert "\n" not in str(error.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["published"]


def test_the_command_converts_and_refuses_to_write_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "published")[2]
    monkeypatch.setattr(sys, "argv", ["convert_internvl2", str(source), str(tmp_path / "native")])
    main()
    assert "2 shards" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_status:
        main()
    assert exit_status.value.code == 1
    assert "native exists and is not an empty folder" in capsys.readouterr().err
