"""The whole way from nothing to a folder that transformers loads, the model card with its measured numbers included."""

import shutil
import tempfile
import time
from collections.abc import Callable
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
from tools.tiny_vlm.recipe import Recipe
from tools.tiny_vlm.report import Report, measure
from tools.tiny_vlm.tower import encode, train_projector, train_tower
from tools.tiny_vlm.train import Sampler, Scaffold, train_answers


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
