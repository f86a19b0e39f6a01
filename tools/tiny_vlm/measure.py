"""What a saved model knows, measured through the files as anybody would load them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForImageTextToText, AutoProcessor

from tools.tiny_vlm.data import Birds
from tools.tiny_vlm.model import N_IMAGE_TOKENS
from tools.tiny_vlm.questions import Question, instruct

Floats = npt.NDArray[np.float64]
N_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Answers:
    """P(yes) and P(yes) + P(no) of each bird and question, both of shape (birds, questions)."""

    p_yes: Floats  # normalised by the two answers
    mass: Floats


@dataclass(frozen=True)
class Score:
    """How well one question is answered; `auc` is NaN where all right answers are the same."""

    accuracy: float
    auc: float
    share_yes: float


class Oracle:
    """A saved model that is asked many questions about many birds."""

    def __init__(self, folder: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(device)
        self.yes, self.no = (self.answer_token(answer) for answer in ("Yes", "No"))

    def prompt(self, text: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        rendered = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        return str(rendered)

    def answer_token(self, answer: str) -> int:
        """The one token that `answer` adds to a prompt."""
        prompt = self.prompt("Is there a bird?")
        before, after = (self.processor.tokenizer(text).input_ids for text in (prompt, prompt + answer))
        assert after[:-1] == before, f"{answer} must be one token after the prompt"
        return int(after[-1])

    @torch.no_grad()
    def ask(self, birds: Birds, texts: Sequence[str], batch: int = 250) -> Answers:
        """Every text (question and instruction) about every bird; the image's part of the prompt is read once."""
        pictures = [Image.fromarray(picture) for picture in birds.pictures]
        groups = [self.ask_group(pictures[at : at + batch], texts) for at in range(0, len(pictures), batch)]
        p_yes, mass = (np.concatenate(parts) for parts in zip(*groups, strict=True))
        return Answers(p_yes, mass)

    def ask_group(self, pictures: list[Image.Image], texts: Sequence[str]) -> tuple[Floats, Floats]:
        inputs = self.processor(images=pictures, text=[self.prompt("")] * len(pictures), return_tensors="pt")
        inputs = inputs.to(self.model.device)
        shared = int((inputs.input_ids[0] == self.model.config.image_token_id).nonzero().max()) + 1
        cache = self.model(
            input_ids=inputs.input_ids[:, :shared], pixel_values=inputs.pixel_values, use_cache=True
        ).past_key_values
        columns = [self.ask_one(text, len(pictures), cache, shared) for text in texts]
        p_yes, mass = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
        return p_yes, mass

    def ask_one(self, text: str, count: int, cache: Any, shared: int) -> tuple[Floats, Floats]:
        ids = self.processor.tokenizer(self.prompt(text), return_tensors="pt").input_ids
        suffix = ids[:, shared - N_IMAGE_TOKENS + 1 :].expand(count, -1).to(self.model.device)
        logits = self.model(input_ids=suffix, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        cache.crop(-suffix.shape[1])
        p = logits.double().softmax(dim=-1)[:, [self.yes, self.no]].cpu().numpy()
        mass = p.sum(axis=1)
        return p[:, 0] / mass, mass


def score(birds: Birds, question: Question, p_yes: Floats) -> Score:
    right = birds.answers(question.fact, question.negated)
    auc = float(roc_auc_score(right, p_yes)) if 0 < right.sum() < len(right) else float("nan")
    return Score(float(np.mean((p_yes > 0.5) == right)), auc, float(right.mean()))


def scores(
    oracle: Oracle, birds: Birds, questions: Sequence[Question], instruction: str
) -> tuple[list[Score], Answers]:
    answers = oracle.ask(birds, [instruct(question.text, instruction) for question in questions])
    found = [score(birds, question, p_yes) for question, p_yes in zip(questions, answers.p_yes.T, strict=True)]
    return found, answers


def right_answers(birds: Birds, questions: Sequence[Question]) -> npt.NDArray[np.bool_]:
    return np.stack([birds.answers(question.fact, question.negated) for question in questions], axis=1)


def brier(p_yes: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Mean squared error of the probabilities: 0.25 for one that always says 0.5."""
    return float(np.mean((p_yes - right) ** 2))


def calibration_error(p_yes: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error of P(yes), in `N_CALIBRATION_BINS` equal bins."""
    bins = np.minimum((p_yes * N_CALIBRATION_BINS).astype(int), N_CALIBRATION_BINS - 1).ravel()
    gaps = np.bincount(bins, weights=(p_yes - right).ravel(), minlength=N_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / p_yes.size)
