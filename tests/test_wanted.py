import numpy as np
import pandas as pd
import pytest

from makd.errors import UserError
from makd.questions import Question
from makd.wanted import Wanted

MANIFEST = pd.DataFrame(
    [("x", "x.png", "train"), ("y", "y.png", "val"), ("z", "z.png", "test"), ("x", "copy of x.png", "test")],
    columns=["image_id", "path", "split"],
)
ASPECTS, CLASSES = [Question(text="Is it big?"), Question(text="Is it red?")], [Question(text="Is it an ant?")]


def wanted(splits: list[str], zero_shot_splits: list[str]) -> Wanted:
    return Wanted.of(MANIFEST, ASPECTS, CLASSES, splits=splits, zero_shot_splits=zero_shot_splits)


def test_each_kind_of_question_has_its_images() -> None:
    found = wanted(["train", "val"], ["test"])
    assert list(found.images.index) == ["x", "y", "z"]
    np.testing.assert_array_equal(found.pairs, [[1, 1, 1], [1, 1, 0], [0, 0, 1]])


def test_a_picture_that_is_there_twice_is_asked_once_by_its_first_path() -> None:
    assert wanted(["train"], ["test"]).images["x"] == "x.png"
    assert wanted([], ["test"]).images["x"] == "copy of x.png"


def test_without_splits_for_classes_none_is_asked() -> None:
    found = wanted(["train", "val", "test"], [])
    np.testing.assert_array_equal(found.pairs[:, :2], np.ones((3, 2)))
    assert not found.pairs[:, 2:].any()


def test_so_many_training_images_of_each_class_are_asked_and_more_hold_the_fewer() -> None:
    rows = [(f"{name}{i}", f"{name}{i}.png", "train", name) for name, n in (("ant", 5), ("bee", 2)) for i in range(n)]
    rows += [("t", "t.png", "test", "ant"), ("ant0", "copy.png", "train", "ant")]
    manifest = pd.DataFrame(rows, columns=["image_id", "path", "split", "class_name"]).sample(frac=1, random_state=0)

    def asked(k: int | None) -> tuple[set[str], int]:
        found = Wanted.of(
            manifest, ASPECTS, CLASSES, splits=["train", "test"], zero_shot_splits=["train"], images_per_class=k
        )
        return set(found.images.index[found.for_aspects]), int(found.for_classes.sum())

    assert asked(None) == ({"t", "ant0", "ant1", "ant2", "ant3", "ant4", "bee0", "bee1"}, 7)
    assert asked(1) == ({"t", "ant0", "bee0"}, 7)
    assert asked(3) == ({"t", "ant0", "ant1", "ant2", "bee0", "bee1"}, 7)


def test_a_question_that_is_asked_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"zero_shot.txt asks 'Is it big\?', which is asked already"):
        Wanted.of(MANIFEST, ASPECTS, ASPECTS[:1], splits=["train"], zero_shot_splits=["test"])
