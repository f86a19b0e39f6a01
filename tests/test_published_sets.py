"""Each dataset of the paper in miniature, read by torchvision's own class: images, names and splits."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from torchvision.datasets import Flowers102

from makd.errors import UserError
from makd.manifest import read_manifest
from makd.params import read_params, validate
from makd.published_sets import names_of_synsets, published, with_maker
from makd.runtime import Runtime
from stages.prepare_dataset import Params, prepare_dataset
from tests.miniatures import CARS, MINIATURES, mini_imagenet_lists

OPTIONS: dict[str, Any] = {"dtd_fold": 1, "flowers102_protocol": "official"}
SPLITS = ("train", "test")
EXPECTED = {  # (class name, split): images
    "stanford_cars": {(name, split): 2 for name in CARS for split in SPLITS},
    "oxford_pets": {(name, split): 2 for name in ("Abyssinian", "American Bulldog") for split in SPLITS},
    "dtd": {(name, split): n for name in ("banded", "polka-dotted") for split, n in (("train", 2), ("test", 1))},
    "flowers102": {(name, split): 2 for name in ("pink primrose", "hard-leaved pocket orchid") for split in SPLITS},
    "fgvc_aircraft": {(name, split): 1 for name in ("Boeing 737-700", "BAE 146-200") for split in SPLITS},
    "caltech101": {(name, None): 4 for name in ("Faces easy", "accordion")},
    "cub200": {(name, split): 1 for name in ("Black footed Albatross", "Crested Auklet") for split in SPLITS},
    "mini_imagenet": {(name, None): 5 for name in ("house finch", "malamute", "prayer rug")},
}


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the checksums of the real annotations, which a miniature cannot have."""

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: (Path(self.root) / "flowers-102").is_dir())


def counts(rows: pd.DataFrame) -> dict[tuple[str, str | None], int]:
    pairs = pd.Series(list(zip(rows["class_name"], rows["split"], strict=True)))
    return {(name, split): int(n) for (name, split), n in pairs.value_counts().items()}


@pytest.mark.parametrize("name", MINIATURES)
def test_images_names_and_official_splits(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    rows = published(name, tmp_path, **OPTIONS)
    assert counts(rows) == EXPECTED[name]
    assert rows["path"].is_unique
    assert all(Path(path).is_file() for path in rows["path"])


def test_names_stand_with_their_own_images(tmp_path: Path) -> None:
    for name in ("oxford_pets", "cub200", "fgvc_aircraft"):
        MINIATURES[name](tmp_path)
    pets = published("oxford_pets", tmp_path, **OPTIONS)
    is_cat = pets["path"].str.contains("Abyssinian")
    assert (is_cat == (pets["class_name"] == "Abyssinian")).all()
    birds = published("cub200", tmp_path, **OPTIONS)
    assert all(name.replace(" ", "_") in path for path, name in zip(birds["path"], birds["class_name"], strict=True))
    aircraft = published("fgvc_aircraft", tmp_path, **OPTIONS)
    assert dict(zip(aircraft["path"].map(lambda path: Path(path).stem), aircraft["class_name"], strict=True)) == {
        "0000001": "Boeing 737-700",
        "0000002": "BAE 146-200",
        "0000003": "Boeing 737-700",
        "0000004": "BAE 146-200",
    }


def test_another_fold_of_dtd_has_other_test_images(tmp_path: Path) -> None:
    MINIATURES["dtd"](tmp_path)
    first, second = (published("dtd", tmp_path, **OPTIONS | {"dtd_fold": fold}) for fold in (1, 2))
    assert not set(first.loc[first["split"] == "test", "path"]) & set(second.loc[second["split"] == "test", "path"])


def test_flowers_can_be_cut_anew(tmp_path: Path) -> None:
    MINIATURES["flowers102"](tmp_path)
    rows = published("flowers102", tmp_path, **OPTIONS | {"flowers102_protocol": "random"})
    assert len(rows) == 8
    assert rows["split"].isna().all()


def test_mini_imagenet_from_lists(tmp_path: Path) -> None:
    mini_imagenet_lists(tmp_path)
    assert counts(published("mini_imagenet", tmp_path, **OPTIONS)) == EXPECTED["mini_imagenet"]


def test_synsets_that_are_called_alike_keep_their_meaning() -> None:
    names = names_of_synsets({"n02012849", "n03126707", "n02110063", "my class"})
    assert (names["n02110063"], names["my class"]) == ("malamute", "my class")
    assert names["n02012849"] != names["n03126707"]
    with pytest.raises(UserError, match="n00000000 is no class of ImageNet-1k"):
        names_of_synsets({"n00000000"})


@pytest.mark.parametrize("name", MINIATURES)
def test_what_is_not_there_is_said_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"prepare_dataset\.root: expected .* below") as error:
        published(name, tmp_path, **OPTIONS)
    assert "\n" not in str(error.value)


def lose_annotations(root: Path) -> None:
    for path in [*root.rglob("*.txt"), *root.rglob("*.mat")]:
        path.unlink()


@pytest.mark.parametrize("name", ["stanford_cars", "oxford_pets", "dtd", "flowers102", "fgvc_aircraft", "cub200"])
def test_a_half_unpacked_archive_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    next(iter(sorted(tmp_path.rglob("*.jpg")))).unlink()
    with pytest.raises(UserError, match=r"1 of .* images of .* are missing, the first is .*; unpack"):
        published(name, tmp_path, **OPTIONS)
    lose_annotations(tmp_path)
    with pytest.raises(UserError, match="expected"):
        published(name, tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("stanford_cars", "stanford_cars/devkit/cars_train_annos.mat"),
        ("oxford_pets", "oxford-iiit-pet/annotations/test.txt"),
        ("flowers102", "flowers-102/imagelabels.mat"),
        ("fgvc_aircraft", "fgvc-aircraft-2013b/data/images_variant_test.txt"),
        ("cub200", "CUB_200_2011/images.txt"),
        ("cub200", "CUB_200_2011/classes.txt"),
        ("mini_imagenet", "val.csv"),
    ],
)
@pytest.mark.parametrize("junk", [b"junk", b"99 5\n", b"as long as the head of a matrix file would have to be " * 8])
def test_damaged_annotations_are_said_in_one_line(name: str, file: str, junk: bytes, tmp_path: Path) -> None:
    (mini_imagenet_lists if name == "mini_imagenet" else MINIATURES[name])(tmp_path)
    (tmp_path / file).write_bytes(junk)
    with pytest.raises(UserError, match=r"expected .* below") as error:
        published(name, tmp_path, **OPTIONS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [None, "", "file,label\na,n01532829\n", "filename,label\n,n01532829\n"])
def test_mini_imagenet_needs_all_three_lists(tmp_path: Path, text: str | None) -> None:
    mini_imagenet_lists(tmp_path)
    file = tmp_path / "val.csv"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(UserError, match=r"train.csv, val.csv and test.csv .*the lists cannot be read: "):
        published("mini_imagenet", tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("oxford_pets", "oxford-iiit-pet/annotations"),
        ("dtd", "dtd/dtd"),
        ("caltech101", "caltech101/101_ObjectCategories"),
    ],
)
def test_a_half_unpacked_archive_is_not_downloaded_over(
    name: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    MINIATURES[name](tmp_path)
    shutil.rmtree(tmp_path / part)
    with pytest.raises(UserError, match="not whole or damaged"):
        published(name, tmp_path, **OPTIONS)
    assert "downloading" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variant", "maker", "name"),
    [
        ("737-700", "Boeing", "Boeing 737-700"),
        ("Cessna 172", "Cessna", "Cessna 172"),
        ("ATR-42", "ATR", "ATR-42"),
        ("Gulfstream IV", "Gulfstream Aerospace", "Gulfstream IV"),
    ],
)
def test_aircraft_are_named_with_their_maker_once(variant: str, maker: str, name: str) -> None:
    assert with_maker(variant, maker) == name


def test_no_flower_is_a_question(tmp_path: Path) -> None:
    MINIATURES["flowers102"](tmp_path)
    savemat(tmp_path / "flowers-102/imagelabels.mat", {"labels": np.array([1, 60] * 4)})
    names = set(published("flowers102", tmp_path, **OPTIONS)["class_name"])
    assert names == {"pink primrose", "pink-yellow dahlia"}


def prepared(tmp_path: Path, name: str, **block: Any) -> pd.DataFrame:
    values = read_params()
    block = values["prepare_dataset"] | {"root": str(tmp_path), "val_fraction": 0.0} | block
    params = validate(Params, {"dataset": name, "prepare_dataset": block})
    prepare_dataset(params, Runtime(workers=0, progress=False), manifest=tmp_path / "manifest.parquet")
    return read_manifest(tmp_path / "manifest.parquet")


@pytest.mark.parametrize("name", ["stanford_cars", "caltech101"])
def test_the_stage_makes_a_manifest_of_it(name: str, tmp_path: Path) -> None:
    MINIATURES[name](tmp_path)
    rows = prepared(tmp_path, name, test_fraction=0.5)
    assert rows["split"].value_counts().to_dict() == {"train": 4, "test": 4}
    assert rows.groupby("class_name")["split"].nunique().eq(2).all()


def test_paths_are_those_below_the_given_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MINIATURES["cub200"](tmp_path / "datasets")
    monkeypatch.chdir(tmp_path)
    rows = published("cub200", Path("datasets"), **OPTIONS)
    assert all(path.startswith("datasets/CUB_200_2011/images/") for path in rows["path"])
    shutil.rmtree(tmp_path / "datasets")
