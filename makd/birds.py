"""The embedded default: twenty invented species of cartoon birds that differ in few, fine marks.

A species fixes what its birds tend to look like; each individual deviates in some marks, so that an image says more
than its label does. That is built in on purpose: it is where per-image answers can help (docs/experiments.md).
The drawing is in bird_drawing.py.
"""

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

Colour = Literal["brown", "grey", "blue", "green", "yellow", "orange"]
Habitat = Literal["water", "forest", "snow", "meadow", "desert"]


@dataclass(frozen=True)
class Marks:
    """What one bird looks like; pose and light are not part of it."""

    colour: Colour
    plump: bool
    crest: bool = False
    cap: Literal["none", "black", "red"] = "none"
    eye_ring: bool = False
    eye_stripe: bool = False
    cheek: bool = False
    throat: bool = False
    collar: bool = False
    spots: bool = False
    pale_belly: bool = False
    wing_bars: Literal[0, 1, 2] = 0
    dark_wings: bool = False
    long_tail: bool = False
    tail: Literal["square", "forked", "pointed"] = "square"
    tail_tip: bool = False
    long_legs: bool = False
    orange_legs: bool = False
    beak: Literal["short", "long", "curved"] = "short"
    yellow_beak: bool = False
    habitat: Habitat = "forest"
    branch: bool = False


CHOICES: dict[str, tuple[object, ...]] = {
    "colour": ("brown", "grey", "blue", "green", "yellow", "orange"),
    "cap": ("none", "black", "red"),
    "wing_bars": (0, 1, 2),
    "tail": ("square", "forked", "pointed"),
    "beak": ("short", "long", "curved"),
    "habitat": ("water", "forest", "snow", "meadow", "desert"),
}
"""The values of each mark that is not yes or no."""

GENUS_MARKS = ("colour", "plump")
"""Shared by the species of a genus and never redrawn for an individual."""

VARIABLE_MARKS = tuple(field.name for field in fields(Marks) if field.name not in GENUS_MARKS)


def choices(mark: str) -> tuple[object, ...]:
    return CHOICES.get(mark, (False, True))


def random_marks(rng: np.random.Generator) -> Marks:
    """Any combination, all values equally likely: what the tiny multimodal LLM is trained on."""
    return Marks(**{field.name: pick(field.name, rng) for field in fields(Marks)})  # type: ignore[arg-type]


def pick(mark: str, rng: np.random.Generator) -> object:
    values = choices(mark)
    return values[rng.integers(len(values))]


GENERA: dict[str, tuple[Colour, bool]] = {
    "Finch": ("brown", True),
    "Heronet": ("grey", False),
    "Jay": ("blue", False),
    "Robin": ("orange", True),
    "Warbler": ("yellow", True),
}

SPECIES_PER_GENUS = ("Northern", "Coastal", "Hill", "Lake")

OWN_MARKS = 3
"""Marks in which a species departs from what its genus looks like."""

LEAST_DIFFERENCE = 5
"""Two species of a genus differ in at least this many marks."""


def species() -> dict[str, Marks]:
    """The twenty species by name, always the same: their marks are drawn once from a fixed seed."""
    rng = np.random.default_rng(20)
    found: dict[str, Marks] = {}
    for genus, (colour, plump) in GENERA.items():
        typical = replace(random_marks(rng), colour=colour, plump=plump)
        siblings: list[Marks] = []
        for epithet in SPECIES_PER_GENUS:
            marks = depart(typical, rng)
            while any(difference(marks, sibling) < LEAST_DIFFERENCE for sibling in siblings):
                marks = depart(typical, rng)
            siblings.append(marks)
            found[f"{epithet} {genus}"] = marks
    return found


def depart(typical: Marks, rng: np.random.Generator) -> Marks:
    """`typical` with other values in `OWN_MARKS` of its variable marks."""
    changed: dict[str, object] = {}
    for mark in rng.choice(VARIABLE_MARKS, OWN_MARKS, replace=False):
        others = [value for value in choices(mark) if value != getattr(typical, mark)]
        changed[mark] = others[rng.integers(len(others))]
    return replace(typical, **changed)  # type: ignore[arg-type]


def difference(one: Marks, other: Marks) -> int:
    return sum(getattr(one, field.name) != getattr(other, field.name) for field in fields(Marks))


def individual(marks: Marks, variation: float, rng: np.random.Generator) -> Marks:
    """A bird of the species `marks`: each variable mark is drawn anew with probability `variation`, in [0, 1]."""
    redrawn = {mark: pick(mark, rng) for mark in VARIABLE_MARKS if rng.random() < variation}
    return replace(marks, **redrawn)  # type: ignore[arg-type]


def facts(bird: Marks) -> dict[str, bool]:
    """The truth of every fact that a question can ask about, by name."""
    truth = {
        "crest": bird.crest,
        "black_cap": bird.cap == "black",
        "red_cap": bird.cap == "red",
        "any_cap": bird.cap != "none",
        "eye_ring": bird.eye_ring,
        "eye_stripe": bird.eye_stripe,
        "white_cheek": bird.cheek,
        "purple_throat": bird.throat,
        "white_collar": bird.collar,
        "breast_spots": bird.spots,
        "pale_belly": bird.pale_belly,
        "any_wing_bar": bird.wing_bars > 0,
        "one_wing_bar": bird.wing_bars == 1,
        "two_wing_bars": bird.wing_bars == 2,
        "dark_wings": bird.dark_wings,
        "long_tail": bird.long_tail,
        "forked_tail": bird.tail == "forked",
        "pointed_tail": bird.tail == "pointed",
        "square_tail": bird.tail == "square",
        "white_tail_tip": bird.tail_tip,
        "long_legs": bird.long_legs,
        "orange_legs": bird.orange_legs,
        "short_beak": bird.beak == "short",
        "straight_beak": bird.beak == "long",
        "curved_beak": bird.beak == "curved",
        "yellow_beak": bird.yellow_beak,
        "plump": bird.plump,
        "on_branch": bird.branch,
        "bright_plumage": bird.colour in ("blue", "green", "yellow", "orange"),
        "warm_plumage": bird.colour in ("brown", "yellow", "orange"),
    }
    truth |= {f"{colour}_body": bird.colour == colour for colour in CHOICES["colour"]}
    truth |= {f"in_{habitat}": bird.habitat == habitat for habitat in CHOICES["habitat"]}
    return truth


def seeded(*parts: object) -> np.random.Generator:
    """A generator that depends on `parts` alone, so that an image does not change with how many stand before it."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
