"""A tiny random InternVL2 in the files of the published one, and its forward pass written from its published code.

Nothing here knows the converter or transformers: `logits` follows modeling_intern_vit.py, modeling_internvl_chat.py and
modeling_internlm2.py of OpenGVLab/InternVL, in plain torch and float64.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear, silu

TOKENIZER = Path(__file__).parent / "internlm2_tokenizer"
SYSTEM = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
PIECES = 607  # of tokenizer.model, whose pieces 3 to 8 are [UNUSED_TOKEN_141] to [UNUSED_TOKEN_146]
REPLACED = ("<|plugin|>", "<|interpreter|>", "<|action_end|>", "<|action_start|>", "<|im_end|>", "<|im_start|>")
APPENDED = ("<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")
ADDED = {
    **dict(enumerate(("<unk>", "<s>", "</s>", *REPLACED))),
    **dict(enumerate(APPENDED, start=PIECES)),
}
IDS = {token: number for number, token in ADDED.items()}

CONVERSATION = """
import dataclasses

raise ImportError("this file is read, never run")

register_conv_template(
    Conversation(
        name='Hermes-2',
        system_template='<|im_start|>system\\n{system_message}',
        system_message='another',
        roles=('<|im_start|>user\\n', '<|im_start|>assistant\\n'),
        sep_style=SeparatorStyle.MPT,
        sep='<|im_end|>',
    )
)
register_conv_template(
    Conversation(
        name='internlm2-chat',
        system_template='<|im_start|>system\\n{system_message}',
        # note: The new system prompt was not used here to avoid changes in benchmark performance.
        system_message='SYSTEM',
        roles=('<|im_start|>user\\n', '<|im_start|>assistant\\n'),
        sep_style=SeparatorStyle.MPT,
        sep='<|im_end|>',
        stop_token_ids=[2, 92543, 92542],
    )
)
"""


def published_config(**vision: Any) -> dict[str, Any]:
    """The structure of OpenGVLab/InternVL2-8B's config.json, the sizes aside."""
    return {
        "_commit_hash": None,
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": 32,
        "llm_config": {
            "_name_or_path": "internlm/internlm2_5-7b-chat",
            "architectures": ["InternLM2ForCausalLM"],
            "attn_implementation": "eager",
            "bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_act": "silu",
            "hidden_size": 32,
            "initializer_range": 0.02,
            "intermediate_size": 48,
            "max_position_embeddings": 96,
            "model_type": "internlm2",
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "pad_token_id": 2,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {"factor": 2.0, "type": "dynamic"},
            "rope_theta": 1000000,
            "temperature": 1.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": PIECES + len(APPENDED),
        },
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internlm2-chat",
        "torch_dtype": "float32",
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "attention_dropout": 0.0,
            "drop_path_rate": 0.1,
            "dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_size": 16,
            "image_size": 32,
            "initializer_factor": 0.1,
            "intermediate_size": 24,
            "layer_norm_eps": 1e-06,
            "model_type": "intern_vit_6b",
            "norm_type": "layer_norm",
            "num_attention_heads": 2,
            "num_channels": 3,
            "num_hidden_layers": 2,
            "patch_size": 8,
            "qk_normalization": False,
            "qkv_bias": True,
            "use_flash_attn": True,
        }
        | vision,
    }


def published_shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the published state dict."""
    vision, text = config["vision_config"], config["llm_config"]
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    yield "vision_model.embeddings.class_embedding", (1, 1, width)
    yield "vision_model.embeddings.position_embedding", (1, patches + 1, width)
    yield "vision_model.embeddings.patch_embedding.weight", (width, 3, vision["patch_size"], vision["patch_size"])
    yield "vision_model.embeddings.patch_embedding.bias", (width,)
    for layer in range(vision["num_hidden_layers"]):
        prefix = f"vision_model.encoder.layers.{layer}."
        for name in ("ls1", "ls2", "norm1.weight", "norm2.weight"):
            yield prefix + name, (width,)
        if vision["norm_type"] == "layer_norm":
            yield prefix + "norm1.bias", (width,)
            yield prefix + "norm2.bias", (width,)
        if vision["qk_normalization"]:
            yield prefix + "attn.q_norm.weight", (width,)
            yield prefix + "attn.k_norm.weight", (width,)
        yield prefix + "attn.qkv.weight", (3 * width, width)
        if vision["qkv_bias"]:
            yield prefix + "attn.qkv.bias", (3 * width,)
        yield prefix + "attn.proj.weight", (width, width)
        yield prefix + "attn.proj.bias", (width,)
        yield prefix + "mlp.fc1.weight", (inner, width)
        yield prefix + "mlp.fc1.bias", (inner,)
        yield prefix + "mlp.fc2.weight", (width, inner)
        yield prefix + "mlp.fc2.bias", (width,)
    hidden, feed = text["hidden_size"], text["intermediate_size"]
    head = hidden // text["num_attention_heads"]
    yield "mlp1.0.weight", (4 * width,)
    yield "mlp1.0.bias", (4 * width,)
    yield "mlp1.1.weight", (hidden, 4 * width)
    yield "mlp1.1.bias", (hidden,)
    yield "mlp1.3.weight", (hidden, hidden)
    yield "mlp1.3.bias", (hidden,)
    yield "language_model.model.tok_embeddings.weight", (text["vocab_size"], hidden)
    for layer in range(text["num_hidden_layers"]):
        prefix = f"language_model.model.layers.{layer}."
        rows = (text["num_attention_heads"] + 2 * text["num_key_value_heads"]) * head
        yield prefix + "attention.wqkv.weight", (rows, hidden)
        yield prefix + "attention.wo.weight", (hidden, hidden)
        yield prefix + "feed_forward.w1.weight", (feed, hidden)
        yield prefix + "feed_forward.w3.weight", (feed, hidden)
        yield prefix + "feed_forward.w2.weight", (hidden, feed)
        yield prefix + "attention_norm.weight", (hidden,)
        yield prefix + "ffn_norm.weight", (hidden,)
    yield "language_model.model.norm.weight", (hidden,)
    yield "language_model.output.weight", (text["vocab_size"], hidden)


def random_state(shapes: Iterator[tuple[str, tuple[int, ...]]], seed: int = 0) -> dict[str, Tensor]:
    """Large enough that every weight shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes:
        noise = torch.randn(shape, generator=generator)
        is_gain = "norm" in name or name.endswith(("ls1", "ls2")) or name == "mlp1.0.weight"
        state[name] = 1 + 0.3 * noise if is_gain and not name.endswith("bias") else 0.2 * noise
    return state


def save_published(
    folder: Path, config: dict[str, Any], state: dict[str, Tensor], n_shards: int = 2, tokenizer: bool = True
) -> Path:
    """The folder that a download of the model gives."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "conversation.py").write_text(CONVERSATION.replace("SYSTEM", SYSTEM), encoding="utf-8")
    if tokenizer:
        save_tokenizer(folder)
    names = sorted(state)
    weight_map: dict[str, str] = {}
    for shard in range(n_shards):
        file = f"model-{shard + 1:05d}-of-{n_shards:05d}.safetensors"
        part = {name: state[name] for name in names[shard::n_shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def save_tokenizer(folder: Path) -> None:
    shutil.copy(TOKENIZER / "tokenizer.model", folder)
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    settings = {
        "added_tokens_decoder": {str(number): {"content": token, **flags} for number, token in ADDED.items()},
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "model_max_length": 8192,
        "pad_token": "</s>",
        "tokenizer_class": "InternLM2Tokenizer",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def logits(config: dict[str, Any], state: dict[str, Tensor], ids: Tensor, pixels: Tensor) -> Tensor:
    """Logits of every position for one sequence, (tokens, vocabulary)."""
    state = {name: tensor.double() for name, tensor in state.items()}
    embedded = state["language_model.model.tok_embeddings.weight"][ids]
    embedded[ids == IDS["<IMG_CONTEXT>"]] = image_features(config["vision_config"], state, pixels.double())
    return internlm2(config["llm_config"], state, embedded)


def image_features(config: dict[str, Any], state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """InternViT, pixel shuffle of version 2 and mlp1: (tiles * tokens, hidden)."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    embeddings = "vision_model.embeddings."
    weight, bias = state[embeddings + "patch_embedding.weight"], state[embeddings + "patch_embedding.bias"]
    patches = conv2d(pixels, weight, bias, stride=config["patch_size"]).flatten(2).transpose(1, 2)
    first = state[embeddings + "class_embedding"].expand(len(pixels), -1, -1)
    x = torch.cat([first, patches], dim=1) + state[embeddings + "position_embedding"]

    def norm(name: str, value: Tensor) -> Tensor:
        if config["norm_type"] == "rms_norm":
            return rms_norm(value, state[name + ".weight"], config["layer_norm_eps"])
        return layer_norm(value, (width,), state[name + ".weight"], state[name + ".bias"], config["layer_norm_eps"])

    for layer in range(config["num_hidden_layers"]):
        at = f"vision_model.encoder.layers.{layer}."
        qkv = linear(norm(at + "norm1", x), state[at + "attn.qkv.weight"], state.get(at + "attn.qkv.bias"))
        q, k, v = qkv[..., :width], qkv[..., width : 2 * width], qkv[..., 2 * width :]
        if config["qk_normalization"]:
            q = rms_norm(q, state[at + "attn.q_norm.weight"], config["layer_norm_eps"])
            k = rms_norm(k, state[at + "attn.k_norm.weight"], config["layer_norm_eps"])
        q, k, v = (part.reshape(*part.shape[:2], heads, -1).transpose(1, 2) for part in (q, k, v))
        attention = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5).softmax(-1) @ v
        mixed = linear(
            attention.transpose(1, 2).flatten(2), state[at + "attn.proj.weight"], state[at + "attn.proj.bias"]
        )
        x = x + state[at + "ls1"] * mixed
        inner = gelu(linear(norm(at + "norm2", x), state[at + "mlp.fc1.weight"], state[at + "mlp.fc1.bias"]))
        x = x + state[at + "ls2"] * linear(inner, state[at + "mlp.fc2.weight"], state[at + "mlp.fc2.bias"])

    side = config["image_size"] // config["patch_size"]
    grid = x[:, 1:].reshape(len(x), side, side, width)
    # A token is the 2 x 2 patches of a square, those of a row next to each other
    squares = grid.reshape(len(x), side // 2, 2, side // 2, 2, width).permute(0, 1, 3, 2, 4, 5)
    folded = squares.reshape(len(x) * (side // 2) ** 2, 4 * width)
    folded = layer_norm(folded, (4 * width,), state["mlp1.0.weight"], state["mlp1.0.bias"], 1e-5)
    projected = gelu(linear(folded, state["mlp1.1.weight"], state["mlp1.1.bias"]))
    return linear(projected, state["mlp1.3.weight"], state["mlp1.3.bias"])


def internlm2(config: dict[str, Any], state: dict[str, Tensor], x: Tensor) -> Tensor:
    """A head of keys and values, its group of query heads beside it; positions rotated, scaled beyond the maximum."""
    eps, n_keys = config["rms_norm_eps"], config["num_key_value_heads"]
    group = config["num_attention_heads"] // n_keys
    head = config["hidden_size"] // config["num_attention_heads"]
    tokens = len(x)
    cos, sin = rotations(config, tokens, head)
    ahead = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    for layer in range(config["num_hidden_layers"]):
        at = f"language_model.model.layers.{layer}."
        qkv = linear(rms_norm(x, state[at + "attention_norm.weight"], eps), state[at + "attention.wqkv.weight"])
        outputs = []
        for key_head in range(n_keys):
            start = key_head * (group + 2) * head
            parts = torch.split(qkv[:, start : start + (group + 2) * head], head, dim=1)
            key, value = rotate(parts[-2], cos, sin), parts[-1]
            for query in parts[:group]:
                scores = rotate(query, cos, sin) @ key.T / head**0.5
                outputs.append(scores.masked_fill(ahead, -torch.inf).softmax(-1) @ value)
        x = x + linear(torch.cat(outputs, dim=1), state[at + "attention.wo.weight"])
        y = rms_norm(x, state[at + "ffn_norm.weight"], eps)
        gated = silu(linear(y, state[at + "feed_forward.w1.weight"])) * linear(y, state[at + "feed_forward.w3.weight"])
        x = x + linear(gated, state[at + "feed_forward.w2.weight"])
    return linear(rms_norm(x, state["language_model.model.norm.weight"], eps), state["language_model.output.weight"])


def rotations(config: dict[str, Any], tokens: int, head: int) -> tuple[Tensor, Tensor]:
    """InternLM2DynamicNTKScalingRotaryEmbedding: the base grows once the sequence is longer than the maximum."""
    base, longest, factor = config["rope_theta"], config["max_position_embeddings"], config["rope_scaling"]["factor"]
    if tokens > longest:
        base = base * (factor * tokens / longest - (factor - 1)) ** (head / (head - 2))
    frequencies = 1 / base ** (torch.arange(0, head, 2, dtype=torch.float64) / head)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float64), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * x * (x.pow(2).mean(-1, keepdim=True) + eps).rsqrt()
