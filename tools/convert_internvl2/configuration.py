"""The published config.json, field by field, as an `InternVLConfig`.

Only fields that the published code reads are carried (its files hold a dump of generation defaults as well), and none
of them may be missing: a default of the native class would be a guess.
"""

import json
from pathlib import Path
from typing import Any

from transformers import InternVLConfig

from makd.errors import UserError

LANGUAGE_MODELS = {"InternLM2ForCausalLM": "llama", "LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}
"""Published language model to native model type. InternLM2 is a Llama with grouped projections (weights.py)."""

TEXT_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "bos_token_id",
    "eos_token_id",
)
OPTIONAL_TEXT_FIELDS = (
    "pad_token_id",
    "initializer_range",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
)

VISION_FIELDS = {  # published name to native name
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "hidden_act": "hidden_act",
    "image_size": "image_size",
    "patch_size": "patch_size",
    "norm_type": "norm_type",
    "layer_norm_eps": "layer_norm_eps",
    "qkv_bias": "attention_bias",
    "qk_normalization": "use_qk_norm",
}
QK_NORM_EPS = 1e-6
"""Of the native tower, fixed there."""

FIXED = {
    "model_type": "internvl_chat",
    "ps_version": "v2",  # v1 leaves the shuffled pixels transposed
    "select_layer": -1,
    "dynamic_image_size": True,
    "use_thumbnail": True,
}
"""Values that the native classes take for granted; all of InternVL2 has them."""


def read_config(source: Path) -> dict[str, Any]:
    """The published config.json, checked.

    Raises:
        UserError: no such file, a field is missing, or a value that the native classes cannot express.
    """
    file = source / "config.json"
    if not file.is_file():
        raise UserError(f"{file} is missing; download all files of the published model into {source}")
    published: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for name, expected in FIXED.items():
        if published.get(name) != expected:
            raise UserError(f"{file}: {name} is {published.get(name)!r}, supported is {expected!r}")
    language, vision = section(published, "llm_config", file), section(published, "vision_config", file)
    architecture = language_model(published)
    if architecture not in LANGUAGE_MODELS:
        raise UserError(
            f"{file}: the language model {architecture} is not supported, only {', '.join(LANGUAGE_MODELS)}; "
            "InternVL2-4B (Phi3) is such a one"
        )
    needed = {
        "": (published, ("template", "downsample_ratio", "min_dynamic_patch", "max_dynamic_patch")),
        "llm_config.": (language, (*TEXT_FIELDS, "rope_theta")),
        "vision_config.": (vision, tuple(VISION_FIELDS)),
    }
    missing = [prefix + name for prefix, (found, names) in needed.items() for name in names if name not in found]
    if missing:
        raise UserError(f"{file}: {', '.join(missing)} missing; is the file as published?")
    size = published.get("force_image_size") or vision["image_size"]
    if size != vision["image_size"]:
        raise UserError(f"{file}: force_image_size is {size}, supported is vision_config.image_size alone")
    if vision["qk_normalization"] and vision["layer_norm_eps"] != QK_NORM_EPS:
        raise UserError(
            f"{file}: vision_config.layer_norm_eps is {vision['layer_norm_eps']}, supported is {QK_NORM_EPS}"
        )
    return published


def section(published: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    if not isinstance(published.get(name), dict):
        raise UserError(f"{file}: {name} missing; is this the config.json of an InternVL2?")
    return dict(published[name])


def language_model(published: dict[str, Any]) -> str:
    return str((published["llm_config"].get("architectures") or ["?"])[0])


def image_tokens(published: dict[str, Any]) -> int:
    """Tokens of the language model a tile: 256 of 1024 patches, for the pixel shuffle folds 2 x 2 into one."""
    vision = published["vision_config"]
    return int((vision["image_size"] // vision["patch_size"]) ** 2 * published["downsample_ratio"] ** 2)


def native_config(published: dict[str, Any], image_token_id: int) -> InternVLConfig:
    """Same numbers, native names."""
    language, vision = published["llm_config"], published["vision_config"]
    text = {name: language[name] for name in (*TEXT_FIELDS, *OPTIONAL_TEXT_FIELDS) if name in language}
    text["model_type"] = LANGUAGE_MODELS[language_model(published)]
    text["rope_parameters"] = rope_parameters(language)
    if text["model_type"] == "llama":
        # InternLM2 says bias, Llama attention_bias; both mean the projections of the attention, and no others
        text["attention_bias"] = language.get("bias", language.get("attention_bias", False))
    # At the root, where it is true by default: it would overwrite the output matrix by the embeddings
    tied = bool(language.get("tie_word_embeddings", False))
    text["tie_word_embeddings"] = tied
    return InternVLConfig(
        architectures=["InternVLForConditionalGeneration"],
        text_config=text,
        vision_config={native: vision[name] for name, native in VISION_FIELDS.items()},
        image_token_id=image_token_id,
        image_seq_length=image_tokens(published),
        downsample_ratio=published["downsample_ratio"],
        projector_hidden_act="gelu",
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=tied,
        dtype=published.get("dtype") or published.get("torch_dtype"),
    )


def rope_parameters(language: dict[str, Any]) -> dict[str, Any]:
    """Base and scaling of the rotary positions; InternVL2-8B has base 1e6 and dynamic NTK scaling with factor 2.

    Dynamic: up to `max_position_embeddings` nothing changes, beyond it the base grows with the length of the sequence,
    in the native Llama as in InternLM2DynamicNTKScalingRotaryEmbedding of modeling_internlm2.py.
    """
    scaling = language.get("rope_scaling") or {"type": "default"}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind not in ("default", "linear", "dynamic"):
        raise UserError(f"llm_config.rope_scaling: {kind!r} is not supported, only linear, dynamic or null")
    factor = {} if kind == "default" else {"factor": float(scaling["factor"])}
    return {"rope_type": kind, "rope_theta": float(language["rope_theta"]), **factor}
