"""What the multimodal LLM would say alone: "Is this a photo of a <class>?" for every class, its zero-shot scores.

The paper's tables 1, 2 and 4 have them and do not say how they were asked; this is the plainest way.
"""

from pathlib import Path

from makd.prompts import render
from makd.questions import Question


def class_questions(prompt: Path, names: list[str]) -> list[Question]:
    """A question a class, in the order of `names`; underscores become the spaces that people write."""
    return [Question(text=render(prompt, class_name=name.replace("_", " "))) for name in names]
