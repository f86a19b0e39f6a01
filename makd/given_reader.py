"""Given answers as they are read into the finished tables: block by block, like those of a store."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.answer_reader import BlockReader, Rows
from makd.answers import Answers
from makd.questions import question_id
from makd.store_parts import Logits


@dataclass(frozen=True)
class WithoutLogits(Answers):
    """P(yes) alone; the logits are NaN throughout."""

    given: Logits = field(kw_only=True)

    @property
    def p_yes(self) -> Logits:
        return self.given

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        return np.isnan(self.given)


class GivenReader(BlockReader):
    """Given answers about some images, a block at a time, as `makd.answer_reader.AnswerReader` reads those of a store.

    Args:
        answers: as makd/given_answers.py describes them.
        images: rows of the manifest; a picture that is there twice counts once, under its first class.
    """

    bounded = False

    def __init__(self, answers: pd.DataFrame, images: pd.DataFrame) -> None:
        images = images.drop_duplicates("image_id")
        self.image_ids = pd.Index(images["image_id"])
        self.question_ids = pd.Index([question_id(text) for text in answers.columns])
        self.values = answers.to_numpy(dtype=np.float32)
        self.at = answers.index.get_indexer(images[answers.index.name])

    def read(self, rows: Rows) -> Answers:
        at = np.append(self.at, -1)[rows]
        p_yes = np.full((len(rows), len(self.question_ids)), np.nan, np.float32)
        p_yes[at >= 0] = self.values[at[at >= 0]]
        nothing = np.full_like(p_yes, np.nan)
        return WithoutLogits(nothing, nothing, given=p_yes)
