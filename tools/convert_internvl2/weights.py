"""The published weights under native names, shard by shard."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration

from makd.errors import UserError, some
from makd.files import write_json
from tools.convert_internvl2.configuration import language_model

INDEX = "model.safetensors.index.json"

# Published names: modeling_intern_vit.py, modeling_internvl_chat.py and modeling_internlm2.py of OpenGVLab/InternVL
EMBEDDINGS = r"vision_model\.embeddings\."
NATIVE_EMBEDDINGS = "model.vision_tower.embeddings."
VISION_LAYER = r"vision_model\.encoder\.layers\.(\d+)\."
NATIVE_VISION_LAYER = r"model.vision_tower.encoder.layer.\1."
VISION_AND_PROJECTOR = {
    EMBEDDINGS + r"class_embedding": NATIVE_EMBEDDINGS + "cls_token",
    EMBEDDINGS + r"position_embedding": NATIVE_EMBEDDINGS + "position_embeddings",
    EMBEDDINGS + r"patch_embedding\.(\w+)": NATIVE_EMBEDDINGS + r"patch_embeddings.projection.\1",
    VISION_LAYER + r"ls(\d)": NATIVE_VISION_LAYER + r"lambda_\2",
    VISION_LAYER + r"norm1\.(\w+)": NATIVE_VISION_LAYER + r"layernorm_before.\2",
    VISION_LAYER + r"norm2\.(\w+)": NATIVE_VISION_LAYER + r"layernorm_after.\2",
    VISION_LAYER + r"attn\.qkv\.(\w+)": NATIVE_VISION_LAYER + r"attention.{qkv}_proj.\2",
    VISION_LAYER + r"attn\.([qk]_norm)\.(\w+)": NATIVE_VISION_LAYER + r"attention.\2.\3",
    VISION_LAYER + r"attn\.proj\.(\w+)": NATIVE_VISION_LAYER + r"attention.projection_layer.\2",
    VISION_LAYER + r"mlp\.(fc[12])\.(\w+)": NATIVE_VISION_LAYER + r"mlp.\2.\3",
    r"mlp1\.0\.(\w+)": r"model.multi_modal_projector.layer_norm.\1",
    r"mlp1\.1\.(\w+)": r"model.multi_modal_projector.linear_1.\1",
    r"mlp1\.3\.(\w+)": r"model.multi_modal_projector.linear_2.\1",
}
LAYER = r"language_model\.model\.layers\.(\d+)\."
NATIVE_LAYER = r"model.language_model.layers.\1."
INTERNLM2 = {
    r"language_model\.model\.tok_embeddings\.weight": "model.language_model.embed_tokens.weight",
    r"language_model\.model\.norm\.weight": "model.language_model.norm.weight",
    r"language_model\.output\.weight": "lm_head.weight",
    LAYER + r"attention\.wqkv\.(\w+)": NATIVE_LAYER + r"self_attn.{grouped}_proj.\2",
    LAYER + r"attention\.wo\.(\w+)": NATIVE_LAYER + r"self_attn.o_proj.\2",
    LAYER + r"feed_forward\.w1\.weight": NATIVE_LAYER + "mlp.gate_proj.weight",
    LAYER + r"feed_forward\.w3\.weight": NATIVE_LAYER + "mlp.up_proj.weight",
    LAYER + r"feed_forward\.w2\.weight": NATIVE_LAYER + "mlp.down_proj.weight",
    LAYER + r"attention_norm\.weight": NATIVE_LAYER + "input_layernorm.weight",
    LAYER + r"ffn_norm\.weight": NATIVE_LAYER + "post_attention_layernorm.weight",
}
NATIVE = {
    r"language_model\.model\.(.+)": r"model.language_model.\1",
    r"language_model\.lm_head\.weight": "lm_head.weight",
}


@dataclass(frozen=True)
class Shard:
    """A file of published weights, its header read."""

    file: Path
    shapes: dict[str, tuple[int, ...]]


def read_shards(source: Path) -> list[Shard]:
    """The headers of all safetensors files that the index names.

    Raises:
        UserError: no weights, a shard that is missing, or one that cannot be read.
    """
    if (source / INDEX).is_file():
        index = json.loads((source / INDEX).read_text(encoding="utf-8"))
        files = [source / name for name in sorted(set(index["weight_map"].values()))]
    else:
        files = [source / "model.safetensors"]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{source}: {', '.join(missing)} missing; download all files of the published model")
    return [Shard(file, header(file)) for file in files]


def header(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(file, framework="pt") as shard:
            return {name: tuple(shard.get_slice(name).get_shape()) for name in shard.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{file} cannot be read: {error}; download it again") from error


def native_name(name: str, published: dict[str, Any]) -> str | None:
    """The native name of a published one, or None. {qkv} and {grouped} stand for q, k and v."""
    language = INTERNLM2 if language_model(published) == "InternLM2ForCausalLM" else NATIVE
    for pattern, replacement in {**VISION_AND_PROJECTOR, **language}.items():
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return None


def native_tensors(name: str, tensor: Tensor, config: InternVLConfig) -> Iterator[tuple[str, Tensor]]:
    """The tensor itself, or copies of the three parts of a fused projection."""
    if "{qkv}" in name:
        for which, part in zip("qkv", tensor.chunk(3), strict=True):
            yield name.replace("{qkv}", which), part.clone()
    elif "{grouped}" in name:
        for which, part in zip("qkv", split_grouped(tensor, config.text_config), strict=True):
            yield name.replace("{grouped}", which), part.clone()
    else:
        yield name, tensor


def split_grouped(tensor: Tensor, text: Any) -> tuple[Tensor, Tensor, Tensor]:
    """InternLM2's wqkv, for each key-value head its query heads, then the key, then the value: "(h gs d) z"."""
    queries = text.num_attention_heads // text.num_key_value_heads
    groups = tensor.reshape(text.num_key_value_heads, queries + 2, text.head_dim, *tensor.shape[1:])
    return groups[:, :queries].flatten(0, 2), groups[:, -2].flatten(0, 1), groups[:, -1].flatten(0, 1)


def check_weights(shards: Sequence[Shard], config: InternVLConfig, published: dict[str, Any]) -> None:
    """Compare names and shapes with those of the native model, from the headers alone.

    Raises:
        UserError: a published key without a native place, a native weight that nothing fills, or a wrong shape.
    """
    names = {name: shape for shard in shards for name, shape in shard.shapes.items()}
    unknown = [name for name in names if native_name(name, published) is None]
    if unknown:
        raise UserError(f"{shards[0].file.parent}: keys that have no place in the native model: {some(unknown)}")
    with torch.device("meta"):
        expected = {
            name: tuple(weight.shape)
            for name, weight in InternVLForConditionalGeneration(config).state_dict().items()
            if not (config.tie_word_embeddings and name == "lm_head.weight")
        }
    found = {
        native: tuple(part.shape)
        for name, shape in names.items()
        for native, part in fitting(name, torch.empty(shape, device="meta"), config, published)
    }
    for label, wrong in {
        "keys that have no place in the native model": sorted(set(found) - set(expected)),
        "weights missing": sorted(set(expected) - set(found)),
        "weights of another shape than config.json says": sorted(
            f"{name} {found[name]} instead of {expected.get(name)}"
            for name in found
            if found[name] != expected.get(name)
        ),
    }.items():
        if wrong:
            raise UserError(f"{shards[0].file.parent}: {label}: {some(wrong)}")


def fitting(name: str, tensor: Tensor, config: InternVLConfig, published: dict[str, Any]) -> list[tuple[str, Tensor]]:
    native = native_name(name, published)
    assert native is not None
    try:
        return list(native_tensors(native, tensor, config))
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{name} of shape {tuple(tensor.shape)} does not fit the heads in config.json") from error


def convert_weights(
    shards: Sequence[Shard],
    folder: Path,
    config: InternVLConfig,
    published: dict[str, Any],
    log: Callable[[str], None],
) -> None:
    """Write a native shard for each published one, then the index; one shard is in memory at a time.

    Tensors that only change their name are not even copied: they are written from the mapped file.
    """
    weight_map: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, start=1):
        target = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        with safe_open(shard.file, framework="pt") as tensors:
            native = {
                name: part
                for key in shard.shapes
                for name, part in fitting(key, tensors.get_tensor(key), config, published)
            }
        save_file(native, folder / target, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(native, target)
        total += sum(part.nbytes for part in native.values())
        del native
        log(f"{shard.file.name} -> {target}")
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(index, folder / INDEX)
