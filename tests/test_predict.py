import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from makd.errors import UserError
from makd.predict import MOST_IMAGES, batch_images, predict
from makd.prediction_lines import csv_lines, json_lines, table_lines
from makd.shipped import load_shipped
from tests.trained_project import CLASSES, QUESTIONS, TrainedProject


@pytest.fixture
def photos(tmp_path: Path, trained: TrainedProject) -> Path:
    """Three pictures, and one cut short between them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, path in zip("abd", trained.predictions()["path"], strict=False):
        shutil.copy(path, folder / f"{name}{Path(path).suffix}")
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_a_bad_file_is_named_and_ends_nothing(shipped: Path, photos: Path) -> None:
    found = list(predict(shipped, photos))
    assert [one.path.stem for one in found] == ["a", "b", "c", "d"]
    assert [bool(one.error) for one in found] == [False, False, True, False]
    assert "c.png cannot be read as a picture" in found[2].error
    assert found[2].top(3) == []
    for one in found[:2]:
        names, probabilities = zip(*one.top(9), strict=True)
        assert sorted(names) == CLASSES
        assert list(probabilities) == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1)


def test_batches_make_no_difference(shipped: Path, trained: TrainedProject, monkeypatch: pytest.MonkeyPatch) -> None:
    student, files = load_shipped(shipped), list(trained.predictions()["path"])
    at_once = [dict(one.top(9)) for one in predict(student, files)]
    monkeypatch.setattr("makd.predict.MOST_IMAGES", 5)
    for one, before in zip(predict(student, files), at_once, strict=True):
        assert dict(one.top(9)) == pytest.approx(before, abs=1e-6)
    assert next(predict(student, files[0])).path == Path(files[0])


def test_a_batch_of_large_pictures_is_small() -> None:
    assert [batch_images(px) for px in (16, 64, 224, 512, 5000)] == [MOST_IMAGES, MOST_IMAGES, 27, 5, 1]


def test_the_three_ways_to_print(shipped: Path, photos: Path) -> None:
    found = list(predict(shipped, photos))
    table = list(table_lines(found, 2))
    assert len(table) == 3
    assert len({len(line) for line in table}) == 1
    objects = [json.loads(line) for line in json_lines(found, 1, QUESTIONS)]
    assert [set(one) for one in objects] == [{"path", "classes", "aspects"}] * 2 + [{"path", "error"}] + [
        {"path", "classes", "aspects"}
    ]
    assert objects[0]["classes"][0]["name"] == found[0].top(1)[0][0]
    assert [aspect["question"] for aspect in objects[0]["aspects"]] == QUESTIONS
    rows = list(csv.DictReader(csv_lines(found, 9)))
    assert list(rows[0]) == ["path", *(f"{name}_{k}" for k in (1, 2, 3) for name in ("class", "probability")), "error"]
    assert [row["class_1"] for row in rows] == [one.top(1)[0][0] if one.top(1) else "" for one in found]
    assert list(table_lines([found[2]], 2)) == list(csv_lines([], 2)) == []


def test_a_line_of_pixels_is_named_and_ends_nothing(shipped: Path, tmp_path: Path) -> None:
    Image.new("RGB", (60_000, 1)).save(tmp_path / "line.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "new\nline.png")
    thin, good = predict(shipped, tmp_path)
    assert thin.error == f"{tmp_path / 'line.png'} is 60000 x 1, too thin to be resized; crop it"
    assert good.probabilities is not None
    header, *rows = csv.reader(io.StringIO("\n".join(csv_lines([thin, good], 2))))
    assert [len(row) for row in rows] == [len(header)] * 2
    assert rows[1][0].endswith("new\nline.png")
    [line] = table_lines([good], 1)
    assert "new\\nline.png" in line
    assert "\n" not in line


def test_a_model_or_source_that_is_not_there_is_a_user_error_at_once(shipped: Path, photos: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json cannot be opened"):
        predict(photos, photos)
    with pytest.raises(UserError, match="is not there"):
        predict(shipped, "nowhere")
    with pytest.raises(UserError, match=r"has no model\.onnx; export it, or name a format that is there"):
        predict(shipped, photos, format="onnx")


MEASURE = """
import sys
from makd.cli import app
try:
    app([*sys.argv[1:]])
finally:
    # Not getrusage: what it says of a process begins with the peak of the one that started it.
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_files_and_every_bad_one_is_named(shipped: Path, tmp_path: Path) -> None:
    """Peak memory of 10,000 pictures beside that of 500; both are of 160 kB when decoded."""
    rng = np.random.default_rng(0)
    peaks = {}
    for n in (500, 10_000):
        folder = tmp_path / f"{n}"
        folder.mkdir()
        picture = rng.integers(0, 256, (200, 267, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / "first.jpg", quality=50)
        content = (folder / "first.jpg").read_bytes()
        (folder / "first.jpg").unlink()
        bad = set()
        for i in range(n):
            file = folder / f"{i:05}.jpg"
            file.write_bytes(content if i % 100 != 7 else content[: len(content) // 2])
            bad |= {file.name} if i % 100 == 7 else set()
        command = [sys.executable, "-c", MEASURE, "predict", str(shipped), str(folder), "--csv", "--no-progress"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
        assert done.returncode == 1
        *skipped, total, peak = done.stderr.strip().splitlines()
        assert total == f"{n // 100} of {n} files were skipped"
        assert {Path(line.removeprefix("skipped: ").split(" cannot be read")[0]).name for line in skipped} == bad
        rows = list(csv.DictReader(done.stdout.splitlines()))
        assert len(rows) == n
        assert {Path(row["path"]).name for row in rows if row["error"]} == bad
        peaks[n] = int(peak)
    print(peaks)
    assert peaks[10_000] < 1.1 * peaks[500], peaks
