"""Which questions are wanted about which images: aspects for some splits, classes for some."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from makd.errors import UserError
from makd.questions import Question
from makd.store import AnswerReader, AnswerStore

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
        """For the images of the manifest in these splits; a picture that is there twice is asked once.

        Of the training images, at most `images_per_class` of each class are asked about aspects.
        """
        left_out = beyond(manifest, images_per_class)
        images = manifest[manifest["split"].isin({*splits, *zero_shot_splits})].drop_duplicates("image_id")
        for_aspects, for_classes = (
            images["image_id"].isin(manifest.loc[asked, "image_id"]).to_numpy(dtype=bool)
            for asked in (manifest["split"].isin(splits) & ~left_out, manifest["split"].isin(zero_shot_splits))
        )
        return cls(images.set_index("image_id")["path"], aspects, classes, for_aspects, for_classes)

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


def beyond(manifest: pd.DataFrame, images_per_class: int | None) -> "pd.Series[bool]":
    """Which rows are training images beyond the first so many of their class.

    The first by image_id, a hash of the content: as good as drawn, and more of them hold the fewer.
    """
    if images_per_class is None:
        return pd.Series(False, manifest.index)
    training = manifest[manifest["split"] == "train"]
    rank = training.groupby("class_name")["image_id"].rank(method="dense")  # a picture twice is one
    return (rank > images_per_class).reindex(manifest.index, fill_value=False)
