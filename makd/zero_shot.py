"""What the multimodal LLM would say alone: "Is this a photo of a <class>?" for every class, its zero-shot scores.

The paper's tables 1, 2 and 4 have them and do not say how they were asked; this is the plainest way.
"""

from pathlib import Path

import pandas as pd

from makd.answer_tables import write_aspects
from makd.prompts import render
from makd.questions import Question
from makd.store import AnswerReader


def class_questions(prompt: Path, names: list[str]) -> list[Question]:
    """A question a class, in the order of `names`; underscores become the spaces that people write."""
    return [Question(text=render(prompt, class_name=name.replace("_", " "))) for name in names]


def write_zero_shot(manifest: pd.DataFrame, names: list[str], reader: AnswerReader, path: Path) -> None:
    """data/zero_shot.parquet: the manifest's columns, then P(yes) of each class, named by the class.

    Args:
        manifest: the images that were asked.
        names: of the classes, by label.
        reader: of the answers to `class_questions`, in their order.
        path: the Parquet file to write.
    """
    write_aspects(manifest, [Question(text=name) for name in names], reader, path)
