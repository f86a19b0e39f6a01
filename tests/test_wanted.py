import numpy as np
import pandas as pd
import pytest

from makd.errors import UserError
from makd.questions import Question
from makd.wanted import Wanted, asked_images

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


def test_a_question_that_is_asked_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"zero_shot.txt asks 'Is it big\?', which is asked already"):
        Wanted.of(MANIFEST, ASPECTS, ASPECTS[:1], splits=["train"], zero_shot_splits=["test"])


def few(manifest: pd.DataFrame, count: int | None, splits: tuple[str, ...] = ("train",)) -> list[str]:
    return list(asked_images(manifest, splits, count)["image_id"])


def classes(n: int) -> pd.DataFrame:
    """Training images of two classes, and a val and a test image of each."""
    rows = [(f"{37 * k % 101:02x}", "train", k % 2) for k in range(2 * n)]
    rows += [(f"{split}{label}", split, label) for split in ("val", "test") for label in (0, 1)]
    return pd.DataFrame(rows, columns=["image_id", "split", "label"])


def test_so_many_images_a_class_and_those_of_fewer_are_among_those_of_more() -> None:
    manifest, smaller = classes(20), set[str]()
    for count in (1, 2, 5, 20, 21):
        chosen = asked_images(manifest, ["train"], count)
        assert list(chosen["label"].value_counts()) == [min(count, 20)] * 2
        assert smaller < set(chosen["image_id"]) or count == 21
        smaller = set(chosen["image_id"])
    assert few(manifest, None) == few(manifest, 20)


def test_the_choice_depends_neither_on_the_order_nor_on_other_classes() -> None:
    manifest = classes(20)
    chosen = set(few(manifest, 3))
    assert set(few(manifest.sample(frac=1, random_state=0), 3)) == chosen
    assert set(few(manifest[manifest["label"] == 0], 3)) < chosen


def test_images_that_are_no_training_images_are_asked_as_the_splits_say() -> None:
    manifest = classes(20)
    assert [one for one in few(manifest, 1, ("train", "test")) if one.startswith(("val", "test"))] == ["test0", "test1"]


def test_a_picture_that_is_there_twice_is_one_of_the_few() -> None:
    manifest = classes(20)
    twice = pd.concat([manifest, manifest[manifest["split"] == "train"]], ignore_index=True)
    assert set(few(twice, 3)) == set(few(manifest, 3))


def test_few_images_are_asked_about_aspects_and_all_about_classes() -> None:
    manifest = classes(20).assign(path="x.png")
    found = Wanted.of(manifest, ASPECTS, CLASSES, splits=["train"], zero_shot_splits=["train"], images_per_class=3)
    assert (found.for_aspects.sum(), found.for_classes.sum()) == (6, 40)


def test_a_question_that_the_list_has_twice_is_refused() -> None:
    manifest = classes(2).assign(path="x.png")
    with pytest.raises(UserError, match=r"the questions hold '.*' twice; run: dvc repro --force select_questions"):
        Wanted.of(manifest, [*ASPECTS, ASPECTS[0]], [], splits=["train"], zero_shot_splits=[])
