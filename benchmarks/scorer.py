"""The scorer against what the paper's authors do, one forward pass a question, and against a padded batch.

Both are timed on some of the questions and multiplied: each question costs them the same again.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.floor import floor_flops, matmul
from benchmarks.noise import noise
from benchmarks.peak import peak_bytes
from benchmarks.questions import questions
from benchmarks.vlms import save_internvl, save_llava_next
from makd.interleaved import best_seconds
from makd.scorer import Scorer, p_yes
from makd.vlm import VLM

QUESTIONS = (10, 50, 100)
ROUNDS = 3
SAMPLE = 5
"""Questions that are asked one by one."""
PADDED = 8
"""Questions in a padded batch, with the image once for each."""
MODELS: dict[str, tuple[Callable[[Path], Path], tuple[int, int]]] = {
    "internvl": (save_internvl, (672, 448)),  # 6 tiles and a thumbnail
    "llava_next": (save_llava_next, (448, 320)),  # 4 tiles, cropped to the picture, and the whole
}


def measure() -> dict[str, float]:
    """Name to number: speed-ups, time over the floor, memory, and the largest difference between the ways."""
    found: dict[str, float] = {"scorer.max_abs_dp": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        for name, (save, size) in MODELS.items():
            path = save(Path(folder) / name)
            for n_questions in QUESTIONS:
                numbers = one_model(path, noise(size), questions(n_questions))
                found["scorer.max_abs_dp"] = max(found["scorer.max_abs_dp"], numbers.pop("max_abs_dp"))
                found |= {f"scorer.{name}.q{n_questions}.{key}": value for key, value in numbers.items()}
        few, many = (peak_bytes(Path(folder) / "internvl", n, MODELS["internvl"][1]) for n in (10, 100))
        found["scorer.memory_q100_over_q10"] = many / few
    return found


def one_model(path: Path, image: Image.Image, texts: list[str]) -> dict[str, float]:
    scorer = Scorer(VLM(path), texts)
    scorer.prepare(image)
    assert scorer.branches is not None
    inputs = scorer.conversation.inputs(image)
    asked = np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).round().astype(int).tolist()
    alone = [scorer.conversation.inputs(image, question) for question in asked]
    padded = scorer.conversation.processor(
        images=[[image]] * PADDED, text=scorer.conversation.prompts[:PADDED], return_tensors="pt", padding=True
    )
    config, tokens = scorer.vlm.model.config, scorer.branches.shared
    prefix = int(inputs["input_ids"].shape[1]) - len(scorer.branches.tails[0]) + tokens
    lengths = [
        int(pair["input_ids"].shape[1]) - prefix
        for pair in map(lambda k: scorer.conversation.inputs(image, k), range(len(texts)))
    ]
    tiles = inputs["pixel_values"].flatten(0, -4).shape[0]
    product, product_flops = matmul(config.get_text_config().hidden_size, prefix)

    @torch.inference_mode()
    def one_by_one() -> torch.Tensor:
        return torch.stack([scorer.vlm.model(**pair, logits_to_keep=1).logits[0, -1] for pair in alone])

    @torch.inference_mode()
    def in_padded_batches() -> torch.Tensor:
        return torch.as_tensor(scorer.vlm.model(**padded, logits_to_keep=1).logits)

    tasks = {
        "shared": lambda: scorer.score([inputs]),
        "one by one": one_by_one,
        "padded": in_padded_batches,
        "product": lambda: [product() for _ in range(20)],
    }
    seconds = best_seconds(tasks, ROUNDS)
    rate = 20 * product_flops / seconds["product"]
    answer_ids = list(scorer.conversation.answer_ids)
    difference = p_yes(scorer.score([inputs])[0, asked]) - p_yes(one_by_one()[:, answer_ids])
    return {
        "speedup": seconds["one by one"] / len(asked) * len(texts) / seconds["shared"],
        "speedup_over_padded": seconds["padded"] / PADDED * len(texts) / seconds["shared"],
        "over_floor": seconds["shared"] / (floor_flops(config, tiles, prefix, lengths) / rate),
        "max_abs_dp": difference.abs().max().item(),
    }
