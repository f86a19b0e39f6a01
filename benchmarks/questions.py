"""A hundred made-up questions of the length and the variety of real ones."""

import numpy as np

PARTS = ("crest", "cap", "collar", "throat", "wing", "tail", "beak", "belly", "leg", "eye")
WAYS = (
    "Does the bird have a long {}?",
    "Is the {} of another colour?",
    "Is its {} white?",
    "Can one see the {} of the bird in the image?",
    "Is the {} striped, spotted or barred?",
    "Has the bird a short {}?",
    "Is the bird's {} darker than its back?",
    "Would you call the {} bright?",
    "Does the {} end in a point?",
    "{}?",
)
ALL = [way.format(part) for part in PARTS for way in WAYS]


def questions(n: int) -> list[str]:
    """`n` of them, spread over the list."""
    return [ALL[place] for place in np.linspace(0, len(ALL) - 1, n).round().astype(int)]
