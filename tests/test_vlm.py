"""Loading, and the plain forward pass, on a tiny random InternVL."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from PIL import Image

from makd.conversation import Conversation
from makd.errors import UserError
from makd.vlm import VLM, quantization_config
from tests.tiny_models import save_tiny_internvl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_internvl(tmp_path_factory.mktemp("internvl"))


def test_the_hidden_state_times_the_output_matrix_gives_the_logits(folder: Path) -> None:
    vlm = VLM(folder)
    inputs = Conversation(vlm.processor, ["Is it?"], ("Yes", "No")).inputs(Image.new("RGB", (32, 32), "red"))
    hidden, logits = vlm.forward(inputs)
    assert (vlm.head(hidden) - logits).abs().max() <= 1e-5
    assert logits.shape == (vlm.head.weight.shape[0],)


def test_pixels_take_the_dtype_of_the_model_and_ids_do_not(folder: Path) -> None:
    inputs = {"pixel_values": torch.zeros(1), "input_ids": torch.zeros(1, dtype=torch.int64)}
    moved = VLM(folder, dtype=torch.bfloat16).to_model(inputs)
    assert (moved["pixel_values"].dtype, moved["input_ids"].dtype) == (torch.bfloat16, torch.int64)


def test_rotary_frequencies_that_were_never_filled_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = hf.AutoModelForImageTextToText.from_pretrained

    def careless(*args: object, **kwargs: object) -> torch.nn.Module:
        model: torch.nn.Module = load(*args, **kwargs)
        for name, values in model.named_buffers():
            if "inv_freq" in name:
                values.fill_(0.1)
        return model

    monkeypatch.setattr(hf.AutoModelForImageTextToText, "from_pretrained", careless)
    with pytest.raises(UserError, match=r"inv_freq of .* is not what its configuration says"):
        VLM(folder)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere cannot be loaded"):
        VLM(tmp_path / "nowhere")


def test_weights_that_are_cut_short_are_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[: len(content) // 2] if file.suffix == ".safetensors" else content)
    with pytest.raises(UserError, match="cannot be loaded"):
        VLM(tmp_path)


@pytest.mark.parametrize(("name", "eight", "four"), [("8bit", True, False), ("4bit", False, True)])
def test_bits_of_the_weights(name: str, eight: bool, four: bool) -> None:
    config = quantization_config(name, torch.bfloat16)
    assert config is not None
    assert (config.load_in_8bit, config.load_in_4bit) == (eight, four)
    assert quantization_config(None, torch.bfloat16) is None


def test_arguments_of_the_processor_change_the_pixels(folder: Path) -> None:
    def tiles(**kwargs: Any) -> int:
        conversation = Conversation(VLM(folder, processor_kwargs=kwargs).processor, ["Is it?"], ("Yes", "No"))
        return len(conversation.inputs(Image.new("RGB", (96, 64)))["pixel_values"])

    assert (tiles(), tiles(max_patches=2)) == (7, 3)


@pytest.mark.parametrize("name", ["max_pachtes", "revision"])
def test_an_argument_that_the_processor_does_not_know_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"extract_logits.processor: '{name}' is no argument of .*max_patches"):
        VLM(folder, processor_kwargs={name: 2})


def test_an_argument_that_cannot_be_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        VLM(folder, processor_kwargs={"image_processor": None})


def test_an_encoder_that_reads_the_question_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = hf.AutoModelForImageTextToText.from_pretrained

    def with_encoder(*args: object, **kwargs: object) -> torch.nn.Module:
        model: torch.nn.Module = load(*args, **kwargs)
        config: Any = model.config
        config.get_text_config().is_encoder_decoder = True
        return model

    monkeypatch.setattr(hf.AutoModelForImageTextToText, "from_pretrained", with_encoder)
    with pytest.raises(UserError, match="has an encoder that reads the question"):
        VLM(folder)
