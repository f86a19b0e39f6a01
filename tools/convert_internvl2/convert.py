"""The whole way from a published folder to one that `AutoProcessor` and `AutoModelForImageTextToText` load."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from transformers import GenerationConfig

from makd.errors import UserError
from tools.convert_internvl2.chat import chat_template, conversation
from tools.convert_internvl2.configuration import native_config, read_config
from tools.convert_internvl2.processor import make_processor, make_tokenizer
from tools.convert_internvl2.weights import check_weights, convert_weights, read_shards


def convert(source: Path, output: Path, log: Callable[[str], None]) -> None:
    """Everything is checked before the first weight is read; `output` appears last, and whole.

    Raises:
        UserError: a file is missing, the model is of a kind that is not supported, or a weight is left over or missing.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} exists and is not an empty folder; name another one, or remove it")
    published = read_config(source)
    talk = conversation(source, published["template"])
    tokenizer = make_tokenizer(source, published)
    processor = make_processor(tokenizer, published, chat_template(talk))
    config = native_config(published, processor.image_token_id)
    shards = read_shards(source)
    check_weights(shards, config, published)
    generation = GenerationConfig(
        bos_token_id=config.text_config.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(talk.separator),  # as `chat()` in modeling_internvl_chat.py
        pad_token_id=tokenizer.pad_token_id,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as parent:
        folder = Path(parent) / output.name
        folder.mkdir()
        convert_weights(shards, folder, config, published, log)
        for part in (processor, generation, config):
            part.save_pretrained(folder)
        os.replace(folder, output)
    log(f"{output}: {len(shards)} shards, {sum(len(shard.shapes) for shard in shards)} published tensors")
