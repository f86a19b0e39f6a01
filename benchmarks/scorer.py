"""The shared prefix against one forward pass a question, on an InternVL of the real classes with random weights."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.interleaved import best_seconds
from makd.scorer import Scorer, p_yes
from tests.tiny_models import save_tiny_internvl

QUESTIONS = (10, 50)
PARTS = ("crest", "cap", "collar", "throat", "wing", "tail", "beak", "belly", "leg", "eye")
WAYS = (
    "Does the bird have a long {}?",
    "Is the {} of another colour?",
    "Is its {} white?",
    "Can one see the {}?",
    "{}?",
)


def measure() -> dict[str, float]:
    """Name to number: speed-ups, and the largest difference between the two ways."""
    found: dict[str, float] = {}
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))  # four tiles and a thumbnail
    texts = [way.format(part) for part in PARTS for way in WAYS]
    with tempfile.TemporaryDirectory() as folder:
        save_tiny_internvl(Path(folder))
        for n_questions in QUESTIONS:
            scorer = Scorer(folder, texts[:n_questions])
            scorer.prepare(image)

            def shared(scorer: Scorer = scorer) -> torch.Tensor:
                return scorer.score([scorer.conversation.inputs(image)])[0]

            def one_by_one(scorer: Scorer = scorer, n_questions: int = n_questions) -> torch.Tensor:
                logits = torch.stack([scorer.one_by_one(image, k)[1] for k in range(n_questions)])
                return logits[:, list(scorer.conversation.answer_ids)]

            seconds = best_seconds({"shared": shared, "one by one": one_by_one}, rounds=5)
            name = f"scorer.internvl_tiny.q{n_questions}"
            found[f"{name}.speedup"] = seconds["one by one"] / seconds["shared"]
            found["scorer.max_abs_dp"] = max(
                found.get("scorer.max_abs_dp", 0.0), (p_yes(shared()) - p_yes(one_by_one())).abs().max().item()
            )
    return found
