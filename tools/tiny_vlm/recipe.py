"""What the shipped model is made with."""

from dataclasses import dataclass


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
