"""The whole way from nothing to a folder that transformers loads, the model card with its measured numbers included."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.tiny_vlm.card import write_card
from tools.tiny_vlm.data import species_birds, training_birds
from tools.tiny_vlm.fold import fold
from tools.tiny_vlm.measure import Oracle
from tools.tiny_vlm.model import make_model, make_processor, save, train_tokenizer
from tools.tiny_vlm.questions import canonical_questions, random_prompt, random_question
from tools.tiny_vlm.report import Report, measure
from tools.tiny_vlm.tower import encode, train_projector, train_tower
from tools.tiny_vlm.train import Sampler, Scaffold, train_answers


@dataclass(frozen=True)
class Recipe:
    """How much of everything; the defaults make the shipped model. They were set by the losses in training."""

    seed: int = 0
    tower_birds: int = 30_000
    tower_epochs: int = 8
    tower_lr: float = 3e-3
    projector_epochs: int = 10
    projector_lr: float = 3e-3
    batch: int = 128
    answer_birds: int = 20_000  # others than the tower's, whose features it knows too well
    reading_steps: int = 250  # until what is asked and what is seen can be read off
    reading_lr: float = 2e-3
    probe_batches: int = 30
    answer_steps: int = 600
    birds_a_step: int = 64
    questions_a_bird: int = 8
    answer_lr: float = 1e-3
    test_birds: int = 1000
    paraphrase_birds: int = 300
    paraphrases: int = 164  # of each kind: four a fact
    workers: int = 2


def build(recipe: Recipe, out: Path, log: Callable[[str], None]) -> Report:
    """Train, save and measure; `out` is replaced as a whole, last."""
    started = time.monotonic()
    model, processor = train(recipe, log)
    minutes = (time.monotonic() - started) / 60
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as parent:
        folder = Path(parent) / out.name
        save(model, processor, folder)
        birds = species_birds(recipe.test_birds, "test", recipe.workers)
        report = measure(Oracle(folder), birds, recipe.paraphrase_birds, recipe.paraphrases, log)
        write_card(report, recipe, minutes, folder)
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return report


def train(recipe: Recipe, log: Callable[[str], None]) -> tuple[Any, Any]:
    torch.manual_seed(recipe.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng, canonical = np.random.default_rng(recipe.seed), canonical_questions()
    tokenizer = train_tokenizer(random_prompt(random_question(rng, canonical), rng) for _ in range(3000))
    model = make_model(tokenizer).to(device)
    log(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters; drawing birds")
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    birds = training_birds(recipe.tower_birds, f"tower {recipe.seed}", recipe.workers)
    train_tower(
        tower,
        birds,
        epochs=recipe.tower_epochs,
        batch=recipe.batch,
        lr=recipe.tower_lr,
        seed=recipe.seed,
        log=log,
    )
    birds = training_birds(recipe.answer_birds, f"answers {recipe.seed}", recipe.workers)
    features = encode(tower, birds)
    train_projector(
        projector,
        features,
        birds,
        epochs=recipe.projector_epochs,
        batch=recipe.batch,
        lr=recipe.projector_lr,
        seed=recipe.seed,
        log=log,
    )
    sampler = Sampler(birds, tokenizer, recipe.seed)
    scaffold = Scaffold(model.config.text_config.hidden_size).to(device)

    def learn(steps: int, lr: float) -> None:
        train_answers(
            model,
            scaffold,
            sampler,
            birds,
            features,
            steps=steps,
            birds_a_step=recipe.birds_a_step,
            questions_a_bird=recipe.questions_a_bird,
            lr=lr,
            log=log,
        )

    learn(recipe.reading_steps, recipe.reading_lr)
    fold(model, sampler, birds, features, batches=recipe.probe_batches, log=log)
    learn(recipe.answer_steps, recipe.answer_lr)
    return model, make_processor(tokenizer)
