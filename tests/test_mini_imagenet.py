from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from makd.errors import UserError
from makd.mini_imagenet import mini_imagenet
from tests.miniatures import WNIDS, Made, jpeg, make_mini_imagenet


def found_in(root: Path) -> Made:
    rows = mini_imagenet(root).itertuples(index=False)
    return {Path(path).relative_to(root).as_posix(): (name, split) for path, name, split in rows}


def test_the_lists_are_pooled_and_leave_the_split_open(tmp_path: Path) -> None:
    made = make_mini_imagenet(tmp_path)
    assert found_in(tmp_path) == made


@pytest.mark.parametrize("above", ["", "images", "train"])
def test_folders_named_by_wordnet_id_are_found_at_any_depth(tmp_path: Path, above: str) -> None:
    numbers, expected = count(), {}
    for wnid, name in WNIDS.items():
        path = Path(above, wnid, "1.JPEG")
        jpeg(tmp_path / path, numbers)
        expected[path.as_posix()] = (name, None)
        (tmp_path / above / wnid / "notes.txt").touch()
    jpeg(tmp_path / "others" / "1.jpg", numbers)
    assert found_in(tmp_path) == expected


def test_the_meta_splits_of_folders_are_pooled(tmp_path: Path) -> None:
    numbers = count()
    for above, wnid in zip(("train", "val", "test"), WNIDS, strict=True):
        jpeg(tmp_path / above / wnid / "1.jpg", numbers)
    assert {name for name, _ in found_in(tmp_path).values()} == set(WNIDS.values())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "val.csv").unlink(), "cannot be read as filename,label .*val.csv"),
        (lambda root: (root / "val.csv").write_text("file,label\na,n01532829\n"), "cannot be read as filename,label"),
        (lambda root: (root / "val.csv").write_text(""), "cannot be read as filename,label"),
        (
            lambda root: (root / "images" / "n0153282900000002.jpg").unlink(),
            "1 of the 15 .* images/n0153282900000002.jpg",
        ),
        (lambda root: (root / "val.csv").write_text("filename,label\na,n99999999\n"), "n99999999 is no class of"),
        (
            lambda root: (root / "val.csv").write_text("filename,label\na,n02012849\nb,n03126707\n"),
            "two classes have one name",
        ),
    ],
)
def test_lists_that_do_not_name_what_is_there_are_refused(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    make_mini_imagenet(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=f"prepare_dataset.root: .*{said}") as caught:
        mini_imagenet(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("root", ["", "nowhere"])
def test_a_root_without_a_class_says_what_goes_there(tmp_path: Path, root: str) -> None:
    with pytest.raises(UserError, match=r"no class of Mini-ImageNet below .*; put a folder a class"):
        mini_imagenet(tmp_path / root)
