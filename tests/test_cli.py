"""The command line as it is typed."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from makd.cli import FormatName, app, main
from makd.shipped import FILES
from tests.trained_project import CLASSES, TrainedProject

COMMANDS = ("export", "predict", "explain", "evaluate-folder", "serve", "answers")


def run(*words: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["makd", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(str(exit_.value.code or 0))


def test_help_fits_on_a_screen_and_imports_nothing_heavy() -> None:
    code = "import sys; from makd.cli import app; app(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 10  # a machine under load; alone it is 0.2 s
    help_, modules = done.stdout.rsplit("[", 1)
    lines = help_.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert all(f"\n  {command} " in help_ for command in COMMANDS)
    assert not any(f"'{name}'" in modules for name in ("torch", "timm", "pandas", "numpy", "fastapi", "rich"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {command.name for command in app.registered_commands} == set(COMMANDS)
    assert run(name, "--help", monkeypatch=monkeypatch) == 0
    help_ = capsys.readouterr().out
    assert f"makd {name} [" in help_
    assert len(help_.splitlines()) <= 24


def test_the_formats_are_those_of_an_export() -> None:
    assert [one.value for one in FormatName] == list(FILES)


def test_from_run_to_table(
    trained: TrainedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "out", trained.predictions()["path"].iloc[1]
    assert run("export", trained.run(), "--to", out, "--data", trained.data, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"{out}: README.md, config.json, model.safetensors\n"
    assert run("predict", out, picture, "--no-progress", "--top", "9", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert all(name in shown.out for name in CLASSES)
    assert shown.out.count("%") == 3
    (tmp_path / "bad.png").touch()
    assert run("predict", out, picture, tmp_path / "bad.png", "--json", monkeypatch=monkeypatch) == 1
    shown = capsys.readouterr()
    assert [set(json.loads(line)) for line in shown.out.splitlines()] == [{"path", "classes"}, {"path", "error"}]
    assert f"skipped: {tmp_path / 'bad.png'} cannot be read as a picture" in shown.err
    assert shown.err.endswith("1 of 2 files were skipped\n")


def test_the_options_of_export_and_predict_count(
    trained: TrainedProject,
    graphs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, picture = tmp_path / "out", trained.predictions()["path"].iloc[1]
    assert run("export", trained.run(), "--to", out, "--data", trained.data, "--aspects", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"{out}: README.md, aspects.safetensors, config.json, model.safetensors\n"
    for format, code in (("pt2", 0), ("safetensors", 1)):
        assert run("predict", graphs, picture, "--format", format, "--no-progress", monkeypatch=monkeypatch) == code
    assert "has no model.safetensors" in capsys.readouterr().err


def test_the_options_of_explain_count(
    trained: TrainedProject, shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = trained.predictions()["path"].iloc[1]
    assert run("explain", shipped, picture, "--rivals", "1", "--top", "2", monkeypatch=monkeypatch) == 0
    text = capsys.readouterr().out
    assert text.count("rather than") == 1
    assert "  the other 1\n" in text


def test_serve_is_for_this_machine_alone_unless_told_otherwise(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("makd.serve.serve", lambda model, **options: asked.append(options))
    assert run("serve", shipped, monkeypatch=monkeypatch) == 0
    assert run("serve", shipped, "--host", "0.0.0.0", "--port", "9", monkeypatch=monkeypatch) == 0
    assert [(one["host"], one["port"]) for one in asked] == [("127.0.0.1", 8000), ("0.0.0.0", 9)]


def test_bad_input_is_one_line(
    shipped: Path,
    trained: TrainedProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo, folder = tmp_path / "photo.png", tmp_path / "folder.png"
    shutil.copy(trained.predictions()["path"].iloc[1], photo)
    folder.mkdir()
    cases: list[tuple[list[str | Path], str]] = [
        (["predict", shipped, tmp_path / "none.png"], "none.png is not there"),
        (["predict", shipped, shipped, "--json", "--csv"], "--json and --csv exclude each other"),
        (["predict", shipped, ""], "a source is empty"),
        (["export", tmp_path, "--to", tmp_path / "out"], "config.json cannot be opened"),
        (["export", trained.run(), "--to", "/proc/none/out"], "/proc/none/out cannot be written: No such file"),
        (
            ["export", trained.run(), "--to", photo / "out"],
            "photo.png is a file; give another place",
        ),
        (["explain", shipped, photo, "--card", photo], "photo.png is the picture itself; give another name"),
        (
            ["explain", shipped, photo, "--card", tmp_path / "card.gif"],
            "a card is a PNG; give a name that ends in .png",
        ),
        (["explain", shipped, photo, "--card", folder], "folder.png is a folder; give another name"),
        (["explain", shipped, photo, "--card", photo / "card.png"], "photo.png is a file; give another place"),
        (["explain", shipped, photo, "--card", "/proc/none/card.png"], "card.png cannot be written: No such file"),
    ]
    content = photo.read_bytes()
    for words, message in cases:
        assert run(*words, monkeypatch=monkeypatch) == 1
        shown = capsys.readouterr()
        assert shown.err.startswith("error: ")
        assert message in shown.err
        assert shown.err.count("\n") == 1
        assert shown.out == "", "nothing was computed"
    assert photo.read_bytes() == content


@pytest.mark.slow
def test_a_full_disk_is_one_line(shipped: Path, trained: TrainedProject) -> None:
    words = [sys.executable, "-m", "makd", "predict", shipped, trained.predictions()["path"].iloc[1], "--no-progress"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device; make room\n"


def test_a_name_with_an_end_of_a_line_is_one_line(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two\nlines.png").write_text("no picture")
    assert run("predict", shipped, tmp_path, "--no-progress", monkeypatch=monkeypatch) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"skipped: {tmp_path}/two\\nlines.png cannot be read as a picture: its format is unknown",
        "1 of 1 files were skipped",
    ]


def test_answers_are_those_of_the_store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("answers", "verify", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "stores: 0, problems: none\n"
