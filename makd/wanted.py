"""Which questions are wanted about which images: aspects for some splits, classes for some."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.answer_reader import AnswerReader
from makd.errors import UserError
from makd.questions import Question
from makd.store import AnswerStore

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """Questions about aspects and about classes, and the images that each kind is asked about.

    Raises:
        UserError: two questions are the same.
    """

    images: pd.Series  # path by image_id, distinct
    aspects: list[Question]
    classes: list[Question]
    for_aspects: Mask  # of the images
    for_classes: Mask

    def __post_init__(self) -> None:
        texts = [question.text for question in self.questions]
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None and texts[: len(self.aspects)].count(twice) > 1:
            raise UserError(f"the questions hold {twice!r} twice; run: dvc repro --force select_questions")
        if twice is not None:
            raise UserError(f"prompts/zero_shot.txt asks {twice!r}, which is asked already; change it, or a class name")

    @classmethod
    def of(
        cls,
        manifest: pd.DataFrame,
        aspects: list[Question],
        classes: list[Question],
        *,
        splits: Collection[str],
        zero_shot_splits: Collection[str],
        images_per_class: int | None = None,
    ) -> "Wanted":
        """For the images of the manifest in these splits; a picture that is there twice is asked once."""
        kinds = asked_images(manifest, splits, images_per_class), manifest[manifest["split"].isin(zero_shot_splits)]
        images = manifest.loc[kinds[0].index.union(kinds[1].index)].drop_duplicates("image_id")
        for_aspects, for_classes = (images["image_id"].isin(kind["image_id"]).to_numpy(dtype=bool) for kind in kinds)
        return cls(images.set_index("image_id")["path"], aspects, classes, for_aspects, for_classes)

    def take(self, images: Mask) -> "Wanted":
        """The same of some of the images."""
        return Wanted(
            self.images[images], self.aspects, self.classes, self.for_aspects[images], self.for_classes[images]
        )

    @property
    def questions(self) -> list[Question]:
        return [*self.aspects, *self.classes]

    @property
    def pairs(self) -> Mask:
        """Shape (images, questions)."""
        kinds = np.column_stack([self.for_aspects, self.for_classes])
        return np.repeat(kinds, [len(self.aspects), len(self.classes)], axis=1)

    def missing(self, store: AnswerStore) -> Mask:
        """What of it the store lacks, shape (images, questions)."""
        return self.pairs & store.missing(list(self.images.index), [question.id for question in self.questions])

    def readers(self, store: AnswerStore) -> tuple[AnswerReader, AnswerReader]:
        """Of the answers about aspects, and of those about classes."""
        aspects, classes = (
            store.reader(list(self.images.index[asked]), [question.id for question in questions])
            for asked, questions in ((self.for_aspects, self.aspects), (self.for_classes, self.classes))
        )
        return aspects, classes


def asked_images(manifest: pd.DataFrame, splits: Collection[str], images_per_class: int | None) -> pd.DataFrame:
    """The rows of these splits; of the training images at most so many different ones a class.

    Those are the first by image_id. It is a hash, so they are as good as drawn, and two are among the first three.
    """
    rows = manifest[manifest["split"].isin(splits)]
    if images_per_class is None:
        return rows
    train = rows[rows["split"] == "train"]
    rank = train.groupby("label")["image_id"].rank(method="dense")  # a picture that is there twice counts once
    return rows.drop(train.index[rank > images_per_class])
