"""What a folder of the answer store is the hash of; in one place, for all who read or write the store must agree."""

from pathlib import Path
from typing import Any

from makd.extraction_params import ExtractLogitsParams
from makd.scoring_version import SCORING_VERSION
from makd.weights import weights_id


def provenance(block: ExtractLogitsParams, prompt: Path) -> dict[str, Any]:
    """Everything that determines a number besides the picture and the question: the key of the store.

    Raises:
        UserError: there is no such model (`makd.weights.weights_id`).
    """
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
