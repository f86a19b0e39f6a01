"""Sentences for the phrases: questions to train on, and others that are never trained on, to measure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TypeVar

import numpy as np

from tools.tiny_vlm.phrases import (
    ALWAYS,
    NEVER_SEEN,
    PHRASES,
    PLURALS,
    UNSEEN_NEVER_SEEN,
    UNSEEN_PHRASES,
)

FACTS = tuple(PHRASES)
"""Every fact of makd.birds.facts; the index into it is the fact's number."""

T = TypeVar("T")

CANONICAL_FILE = Path("data/birds_facts.json")
PROMPT_FILE = Path("prompts/ask_yes_no.txt")


@dataclass(frozen=True)
class Question:
    """A yes/no question: its answer is the truth of `fact`, or the opposite if `negated`; no fact means always yes."""

    text: str
    fact: str | None
    negated: bool = False

    def answer(self, truth: dict[str, bool]) -> bool:
        return (self.fact is None or truth[self.fact]) != self.negated

    @property
    def topic(self) -> int:
        """A number for what is asked and which way round, below `N_TOPICS`."""
        fact = len(FACTS) if self.fact is None else FACTS.index(self.fact)
        return 2 * fact + self.negated


N_TOPICS = 2 * (len(FACTS) + 1)


@dataclass(frozen=True)
class Forms:
    """Sentence forms by kind of phrase, for yes and for no."""

    has: tuple[str, ...]
    lacks: tuple[str, ...]
    part: tuple[str, ...]
    part_not: tuple[str, ...]
    bird: tuple[str, ...]
    bird_not: tuple[str, ...]


FORMS = Forms(
    has=(
        "Does {bird} have {what}?",
        "Does {bird} have {what}?",
        "Does {bird} show {what}?",
        "Does {bird} display {what}?",
        "Has {bird} got {what}?",
        "Do you see {what} in the picture?",
        "Is there a bird with {what}?",
        "Is this a bird with {what}?",
        "Is it true that {bird} has {what}?",
        "Does the image show a bird with {what}?",
        "Can one see that {bird} has {what}?",
        "Do you believe that {bird} has {what}?",
        "Am I right that {bird} has {what}?",
        "Are we looking at a bird with {what}?",
        "Would you say that {bird} has {what}?",
    ),
    lacks=(
        "Does {bird} lack {what}?",
        "Is {bird} without {what}?",
        "Does {bird} not have {what}?",
        "Is it false that {bird} has {what}?",
        "Is this a bird without {what}?",
        "Do you believe that {bird} lacks {what}?",
        "Are we looking at a bird without {what}?",
        "Is {what} missing?",
        "Is {what} absent from {bird}?",
    ),
    part=(
        "{is_} {owner} {part} {what}?",
        "{is_} {owner} {part} {what}?",
        "{is_} the {part} of {bird} {what}?",
        "{is_} the {part} {what}?",
        "Is it true that {owner} {part} {is_} {what}?",
        "Would you say that {owner} {part} {is_} {what}?",
        "Does the image show that {owner} {part} {is_} {what}?",
        "In the image, {is_} {owner} {part} {what}?",
        "Do you believe that {owner} {part} {is_} {what}?",
        "Am I right that {owner} {part} {is_} {what}?",
        "Can one see that {owner} {part} {is_} {what}?",
        "Is this a bird with {article}{part} that {is_} {what}?",
        "Is it the case that the {part} {is_} {what}?",
    ),
    part_not=(
        "{is_} {owner} {part} not {what}?",
        "Is it false that {owner} {part} {is_} {what}?",
        "{is_} {owner} {part} anything but {what}?",
        "Is it untrue that {owner} {part} {is_} {what}?",
        "Do you believe that {owner} {part} {is_} not {what}?",
    ),
    bird=(
        "Is {bird} {what}?",
        "Is {bird} {what}?",
        "Is this a bird that is {what}?",
        "Is there a bird that is {what}?",
        "Does the image show a bird that is {what}?",
        "Do you see a bird that is {what}?",
        "Is it true that {bird} is {what}?",
        "Would you say that {bird} is {what}?",
        "Do you believe that {bird} is {what}?",
        "Am I right that {bird} is {what}?",
        "Can one see that {bird} is {what}?",
    ),
    bird_not=(
        "Is {bird} not {what}?",
        "Is it false that {bird} is {what}?",
        "Is this a bird that is not {what}?",
        "Is {bird} anything but {what}?",
        "Do you believe that {bird} is not {what}?",
    ),
)

UNSEEN_FORMS = Forms(
    has=(
        "Can you see that this bird has {what}?",
        "Does this picture show a bird that has {what}?",
        "Do you think the bird has {what}?",
        "Is the bird one with {what}?",
    ),
    lacks=("Is there a bird without {what}?", "Would you say that the bird lacks {what}?"),
    part=(
        "Do you think that the bird's {part} {is_} {what}?",
        "Can you see that its {part} {is_} {what}?",
        "Is it a bird whose {part} {is_} {what}?",
    ),
    part_not=("Would you say that the bird's {part} {is_} not {what}?",),
    bird=("Do you think the bird is {what}?", "Does the picture show that the bird is {what}?"),
    bird_not=("Would you say that the bird is not {what}?",),
)

BIRDS = ("the bird",) * 6 + (
    "this bird",
    "the bird in the image",
    "the bird in the picture",
    "the animal",
    "this animal",
    "the object",
    "it",
)
OWNERS = ("the bird's",) * 5 + ("this bird's", "its", "the animal's", "the object's")
NEVER_FORMS = (
    "Is there {what} in the image?",
    "Is there {what}?",
    "Does the object have {what}?",
    "Does the bird have {what}?",
    "Does the image show {what}?",
    "Do you see {what}?",
    "Is this {what}?",
    "Can you see {what} in the picture?",
)

SEPARATORS = (" ", " ", " ", "\n")
BEFORE = (
    "",
    "Answer Yes or No:",
    "Look at the image.",
    "Question:",
    "Look carefully at this photo and tell me:",
    "Here is a question about the image.",
    "Judge from the image alone:",
    "Give a short answer.",
    "Please reply with a single word.",
    "I have a question about this image:",
    "Tell me, yes or no:",
    "Please think about the image before you reply.",
)
AFTER = (
    "",
    "Answer yes or no.",
    "Please answer Yes or No.",
    "Answer with Yes or No only.",
    "Reply with one word, Yes or No.",
    "Answer the question using a single word or phrase.",
    "Yes or no?",
    "Answer:",
    "Say Yes if it is so, No if it is not.",
    "Choose Yes or No.",
    "Do not explain, only say Yes or No.",
    "Give only Yes or No as the answer.",
    "Your answer is one word.",
    "Decide between Yes and No.",
    "Is the answer Yes or No?",
    "Reply yes or no without any other words.",
)
"""What may stand before and after a question in the training, in any combination."""

UNSEEN_INSTRUCTIONS = (
    "$question Respond with Yes or No.",
    "Please look at the picture and answer this question with Yes or No. $question",
    "$question Yes or No, please.",
    "$question Use one word to answer the question: Yes or No.",
)


def canonical_questions() -> list[Question]:
    """The default's sixty questions."""
    lines: dict[str, str] = json.loads(CANONICAL_FILE.read_text())
    return [Question(text, fact.removeprefix("not "), fact.startswith("not ")) for text, fact in lines.items()]


def default_instruction() -> str:
    return PROMPT_FILE.read_text(encoding="utf-8").strip()


def instruct(question: str, instruction: str) -> str:
    return Template(instruction).substitute(question=question)


def compose(fact: str, phrase: str, forms: Forms, rng: np.random.Generator) -> Question:
    """A sentence for `phrase` in one of the forms; in three of ten it asks for the opposite of the phrase."""
    contrary, flip = phrase.startswith("not "), bool(rng.random() < 0.3)
    part, bar, what = phrase.removeprefix("not ").rpartition("|")
    if not bar:
        form = pick(forms.lacks if flip else forms.has, rng)
    elif part:
        form = pick(forms.part_not if flip else forms.part, rng)
    else:
        form = pick(forms.bird_not if flip else forms.bird, rng)
    part = part.strip()
    is_ = "are" if part in PLURALS else "is"
    article = "" if part in PLURALS else "an " if part.startswith(("e", "u")) else "a "
    bird, owner = pick(BIRDS, rng), pick(OWNERS, rng)
    text = form.format(bird=bird, owner=owner, article=article, part=part, is_=is_, what=what.strip())
    return Question(text[0].upper() + text[1:], fact, contrary != flip)


def random_question(rng: np.random.Generator, canonical: Sequence[Question]) -> Question:
    """A question to train on: one of the sixty, a composed one, or one with the same answer for every picture."""
    kind = rng.random()
    if kind < 0.25:
        return pick(canonical, rng)
    if kind < 0.92:
        fact = pick(FACTS, rng)
        return compose(fact, pick(PHRASES[fact], rng), FORMS, rng)
    if kind < 0.98:
        return Question(pick(NEVER_FORMS, rng).format(what=pick(NEVER_SEEN, rng)), None, negated=True)
    return Question(pick(ALWAYS, rng), None)


def random_prompt(question: Question, rng: np.random.Generator) -> str:
    """`question` under the default's instruction (in four of ten) or another one."""
    return instruct(question.text, default_instruction() if rng.random() < 0.4 else random_instruction(rng))


def random_instruction(rng: np.random.Generator) -> str:
    """Half of them have nothing before the question."""
    before = pick(BEFORE, rng) if rng.random() < 0.5 else ""
    return f"{before}{pick(SEPARATORS, rng)}$question{pick(SEPARATORS, rng)}{pick(AFTER, rng)}".strip()


def unseen_questions(*, phrase: bool, form: bool, count: int, rng: np.random.Generator) -> list[Question]:
    """`count` questions, spread over the facts, whose phrase or form (or both) is never trained on."""
    table = UNSEEN_PHRASES if phrase else PHRASES
    forms = UNSEEN_FORMS if form else FORMS
    return [compose(fact, pick(table[fact], rng), forms, rng) for fact in (FACTS * count)[:count]]


def unseen_absences() -> list[Question]:
    """Questions after things that are neither in the pictures nor in the training questions."""
    return [Question(f"Is there {what} in the image?", None, negated=True) for what in UNSEEN_NEVER_SEEN]


def pick(values: Sequence[T], rng: np.random.Generator) -> T:
    return values[int(rng.integers(len(values)))]
