import hashlib
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from torchvision.datasets import DTD, Flowers102, StanfordCars

from makd.datasets import COLUMNS
from makd.errors import UserError
from makd.torchvision_datasets import PUBLISHED, published_dataset, with_maker
from tests.miniatures import MINIATURES, Made, make_dtd, make_fgvc_aircraft


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def make(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    made = MINIATURES[name](root)
    if name == "flowers102":  # torchvision knows the sums of the published lists
        sums = {
            key: (file, md5(root / "flowers-102" / file) if file.endswith(".mat") else "")
            for key, (file, _) in Flowers102._file_dict.items()
        }
        monkeypatch.setattr(Flowers102, "_file_dict", sums)
    return made


def found_in(table: pd.DataFrame, root: Path) -> Made:
    assert tuple(table.columns) == COLUMNS
    return {
        Path(path).relative_to(root).as_posix(): (name, split) for path, name, split in table.itertuples(index=False)
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_image_has_the_class_and_the_split_of_the_archive(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(name, root, monkeypatch)
    table = published_dataset(name, root, fold=1)
    assert found_in(table, root) == made
    assert len(table) == len(made)


def test_paths_are_those_of_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fgvc_aircraft(tmp_path / "checkout" / "data")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
    paths = published_dataset("fgvc_aircraft", Path("data"), fold=1)["path"]
    assert paths.str.startswith("data/fgvc-aircraft-2013b/data/images/").all()


def test_dtd_has_the_splits_of_the_fold(root: Path) -> None:
    first, second = make_dtd(root), make_dtd(root, fold=2)
    assert found_in(published_dataset("dtd", root, fold=2), root) == second != first


@pytest.mark.parametrize(
    ("variant", "maker", "name"),
    [
        ("737-700", "Boeing", "Boeing 737-700"),
        ("ATR-42", "ATR", "ATR-42"),
        ("Gulfstream IV", "Gulfstream Aerospace", "Gulfstream IV"),
        ("Tu-134", "Tupolev", "Tupolev Tu-134"),
    ],
)
def test_aircraft_are_named_with_their_maker_once(variant: str, maker: str, name: str) -> None:
    assert with_maker(variant, maker) == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_image_is_named_with_what_to_unpack(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = make(name, root, monkeypatch)
    (root / first).unlink() if name != "caltech101" else (root / first).rename((root / first).with_suffix(".bak"))
    with pytest.raises(UserError, match=f"1 of the .* not below .*the first {first}; unpack .* into {root}") as caught:
        published_dataset(name, root, fold=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("stanford_cars", "stanford_cars/cars_test_annos_withlabels.mat"),
        ("stanford_cars", "stanford_cars/devkit/cars_meta.mat"),
        ("oxford_pets", "oxford-iiit-pet/annotations"),
        ("dtd", "dtd/dtd/labels/val1.txt"),
        ("flowers102", "flowers-102/setid.mat"),
        ("fgvc_aircraft", "fgvc-aircraft-2013b/data/images_manufacturer_val.txt"),
        ("caltech101", "caltech101/101_ObjectCategories"),
    ],
)
def test_a_half_unpacked_archive_is_refused_in_one_line(
    name: str, gone: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(name, root, monkeypatch)
    shutil.rmtree(root / gone) if (root / gone).is_dir() else (root / gone).unlink()
    folder = root / PUBLISHED[name].folder
    with pytest.raises(UserError, match=f"root: {folder} is not whole.*; unpack .* into {root}") as caught:
        published_dataset(name, root, fold=1)
    assert "download=True" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("stanford_cars", "stanford_cars/devkit/cars_train_annos.mat"),
        ("oxford_pets", "oxford-iiit-pet/annotations/test.txt"),
        ("flowers102", "flowers-102/imagelabels.mat"),
        ("fgvc_aircraft", "fgvc-aircraft-2013b/data/images_variant_test.txt"),
    ],
)
@pytest.mark.parametrize("junk", [b"junk", b"junk that is as long as the head of a matrix file would have to be " * 4])
def test_damaged_annotations_are_refused_in_one_line(
    name: str, file: str, junk: bytes, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(name, root, monkeypatch)
    (root / file).write_bytes(junk)
    with pytest.raises(UserError, match=r"is not whole.*; unpack ") as caught:
        published_dataset(name, root, fold=1)
    assert "\n" not in str(caught.value)


def test_caltech_without_its_background_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("caltech101", root, monkeypatch)
    shutil.rmtree(root / "caltech101" / "101_ObjectCategories" / "BACKGROUND_Google")
    with pytest.raises(UserError, match=r"is not whole .there is no BACKGROUND_Google/ in it.; unpack"):
        published_dataset("caltech101", root, fold=1)


def test_cars_are_not_asked_of_the_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StanfordCars, "download", None)
    with pytest.raises(UserError, match=f"{root} has no stanford_cars/, and nobody serves it; unpack copies of"):
        published_dataset("stanford_cars", root, fold=1)


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"dtd"}))  # in that folder lies another dtd/, not a whole one
def test_the_dataset_itself_as_root_is_not_downloaded_again(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(name, root, monkeypatch)
    with pytest.raises(UserError, match="is the dataset itself; give the folder in which it lies"):
        published_dataset(name, root / PUBLISHED[name].folder, fold=1)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a server on this machine serves, where torchvision thinks DTD is."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(DTD, "_URL", f"http://127.0.0.1:{server.server_port}/dtd.tar.gz")
    threading.Thread(target=server.serve_forever).start()
    yield folder
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_what_is_not_there_is_downloaded_once(
    served: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_dtd(tmp_path / "published")
    with tarfile.open(served / "dtd.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "published" / "dtd" / "dtd", "dtd")
    monkeypatch.setattr(DTD, "_MD5", md5(served / "dtd.tar.gz"))
    (root / ".dtd.partial" / "dtd" / "dtd").mkdir(parents=True)  # of a download that was killed
    assert found_in(published_dataset("dtd", root, fold=1), root) == made
    assert f"downloading dtd into {root}" in capsys.readouterr().err
    assert not (root / ".dtd.partial").exists()
    (served / "dtd.tar.gz").unlink()
    assert found_in(published_dataset("dtd", root, fold=1), root) == made


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_a_download_that_fails_says_what_to_put_where_and_leaves_nothing(
    served: Path, root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    if content:
        (served / "dtd.tar.gz").write_bytes(content)
        monkeypatch.setattr(DTD, "_MD5", md5(served / "dtd.tar.gz"))
    with pytest.raises(
        UserError, match=f"cannot be downloaded .*; unpack dtd-r1.0.1.tar.gz .* into {root}/dtd"
    ) as caught:
        published_dataset("dtd", root, fold=1)
    assert "\n" not in str(caught.value)
    assert not [path for path in root.iterdir() if path.name != ".dtd.lock"]


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"caltech101 cannot be downloaded into {tmp_path}/file"):
        published_dataset("caltech101", tmp_path / "file", fold=1)
