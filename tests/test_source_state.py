import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from makd.source_state import source_commit, versions


def git(*words: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "e", "GIT_COMMITTER_NAME": "n", "GIT_COMMITTER_EMAIL": "e"}
    return subprocess.run(
        ["git", *words], env=os.environ | identity, capture_output=True, text=True, check=True
    ).stdout.strip()


def commit(path: str, text: str) -> str:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)
    git("add", path)
    git("commit", "-qm", "m")
    return git("log", "-1", "--abbrev=12", "--format=%h (%cs)")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The commit of the source of a repository that the process is in."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git("init", "-q")
    return commit("makd/a.py", "a = 1")


def test_the_commit_is_the_last_that_changed_the_source(source: str) -> None:
    assert source_commit() == source
    after = commit("stages/b.py", "b = 1")
    assert after != source
    assert source_commit() == after


def test_a_commit_that_keeps_a_report_does_not_change_it(source: str) -> None:
    commit("reports/index.html", "a report")
    assert source_commit() == source
    Path("reports/index.html").write_text("another report")
    assert source_commit() == source


def test_an_edit_of_the_source_is_said(source: str) -> None:
    Path("makd/a.py").write_text("a = 2")
    assert source_commit() == f"{source}, with changes since"
    git("checkout", "-q", "makd/a.py")
    assert source_commit() == source
    Path("makd/new.py").write_text("")
    assert source_commit() == f"{source}, with changes since"


def test_without_a_repository_or_without_git_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert source_commit() == "unknown: git tells none here"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit() == "unknown: git tells none here"


def test_versions_are_those_that_are_installed() -> None:
    found = versions()
    assert found["numpy"] == np.__version__
    assert "not installed" not in found.values()


def test_a_package_that_is_not_there_is_said_not_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.source_state.PACKAGES", ("numpy", "no-such-package-of-makd"))
    assert versions() == {"numpy": np.__version__, "no-such-package-of-makd": "not installed"}
