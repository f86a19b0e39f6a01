"""Downloads by torchvision's own code, from a server on this machine."""

import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.datasets import DTD

from makd.errors import UserError
from makd.published_sets import published
from tests.miniatures import dtd


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive of DTD, where torchvision looks for it."""
    dtd(tmp_path / "unpacked")
    file = tmp_path / "served" / "dtd.tar.gz"
    file.parent.mkdir()
    with tarfile.open(file, "w:gz") as tar:
        tar.add(tmp_path / "unpacked" / "dtd" / "dtd", "dtd")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(file.parent)))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(DTD, "_URL", f"http://127.0.0.1:{server.server_port}/{file.name}")
    monkeypatch.setattr(DTD, "_MD5", None)
    threading.Thread(target=server.serve_forever).start()
    yield file
    server.shutdown()
    server.server_close()


def read(root: Path) -> set[str]:
    paths = published("dtd", root, dtd_fold=1, flowers102_protocol="official")["path"]
    return {Path(path).relative_to(root).as_posix() for path in paths}


def test_what_is_not_there_is_downloaded_once(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "datasets"
    (root / ".dtd.partial" / "dtd").mkdir(parents=True)
    (root / ".dtd.partial" / "dtd" / archive.name).write_bytes(b"half")  # of a download that was killed
    images = read(root)
    assert images == {
        path.relative_to(tmp_path / "unpacked").as_posix() for path in (tmp_path / "unpacked").rglob("*.jpg")
    }
    assert f"{root} has no dtd/: downloading" in capsys.readouterr().err
    assert not (root / ".dtd.partial").exists()
    archive.unlink()
    assert read(root) == images


@pytest.mark.parametrize("content", [None, b"no archive", "half"])
def test_a_download_that_fails_is_one_line_and_leaves_no_dataset(
    archive: Path, tmp_path: Path, content: bytes | str | None
) -> None:
    whole = archive.read_bytes()
    if content is None:
        archive.unlink()
    else:
        archive.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    root = tmp_path / "datasets"
    with pytest.raises(UserError, match=rf"expected dtd/dtd/ .* below {root}; the download failed: ") as error:
        read(root)
    assert "\n" not in str(error.value)
    assert [path.name for path in root.iterdir()] == [".dtd.lock"]
    archive.write_bytes(whole)
    assert read(root)


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the download failed: "):
        read(tmp_path / "file")
