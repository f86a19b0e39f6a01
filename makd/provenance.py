"""What a folder of the answer store is the hash of; in one place, for all who read or write the store must agree."""

from pathlib import Path
from typing import Any

from makd.extraction_params import ExtractLogitsParams
from makd.scoring_version import SCORING_VERSION, SERVED_VERSION
from makd.weights import weights_id


def provenance(block: ExtractLogitsParams, prompt: Path) -> dict[str, Any]:
    """Everything that determines a number besides the picture and the question: the key of the store.

    Raises:
        UserError: there is no such model (`makd.weights.weights_id`).
    """
    if block.backend == "server":
        return served(block, prompt)
    if block.backend == "vllm":
        return {
            "engine": "vllm",
            "scoring_version": SERVED_VERSION,
            "weights": weights_id(block.model, block.revision),
            "prompt": prompt.read_text(encoding="utf-8"),
            "answers": list(block.answers),
            "dtype": block.dtype,
            "processor": block.processor,
        }
    return {
        "scoring_version": SCORING_VERSION,
        "weights": weights_id(block.model, block.revision),
        "prompt": prompt.read_text(encoding="utf-8"),
        "answers": list(block.answers),
        "dtype": block.dtype,
        "quantization": block.quantization,
        "attention": block.attention,
        "shared_prefix": block.shared_prefix,
        "processor": block.processor,
    }


def served(block: ExtractLogitsParams, prompt: Path) -> dict[str, Any]:
    """Of a server's answers. Its address is no part: the same model behind another one gives the same answers.

    That it is the same is what `revision` says, a name of the user's own, and what `makd.server.Server` compares with
    the server's account of itself. The key must be known where no server runs.
    """
    server = block.server
    return {
        "weights": f"{block.model}@{block.revision or 'server'}",
        "engine": "server",
        "scoring_version": SERVED_VERSION,
        "prompt": prompt.read_text(encoding="utf-8"),
        "answers": list(block.answers),
        "token_ids": server.token_ids,
        "tokenizer": server.tokenizer,
        "logprobs": server.logprobs,
        "top_logprobs": server.top_logprobs,
        "image_format": server.image_format,
        "jpeg_quality": server.jpeg_quality if server.image_format == "jpeg" else None,
        "image_max_px": server.image_max_px,
    }
