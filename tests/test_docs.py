"""The code in the documents runs, on a made-up run."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.made_up_detection import write_detector
from tests.made_up_report import evaluated
from tests.made_up_runs import MadeUpRuns, png

README_QUESTION = "Is the bird's tail forked?"


def blocks(document: str) -> str:
    """All of its Python, one after the other, as a reader would type it."""
    found = re.findall(r"^```python\n(.*?)^```", Path(document).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found, document
    return "\n".join(found)


@pytest.fixture
def project(tmp_path: Path, shipped: Path) -> Path:
    made_up = MadeUpRuns(tmp_path)
    made_up.questions[0] = README_QUESTION
    made_up.write()
    evaluated(made_up)
    shutil.copytree(shipped, tmp_path / "out")
    write_detector(tmp_path / "pipelines/detection/models/resnet18/makd/seed0")
    for name in ("bird", "birds"):
        (tmp_path / f"{name}.png").write_bytes(png((200, 30, 30)))
    return tmp_path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("document", ["README.md", "docs/data.md", "docs/shipping.md", "docs/detection.md"])
def test_the_code_of_a_document_runs(
    document: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = blocks(document)
    monkeypatch.chdir(project)
    exec(compile(code, document, "exec"), {})
    if "print" in code:
        assert "class 000" in capsys.readouterr().out


def test_every_table_of_the_reports_is_described(project: Path) -> None:
    text = Path("docs/data.md").read_text(encoding="utf-8")
    for table in sorted((project / "reports").glob("*.csv")):
        assert f"`{table.name}`" in text or f"reports/{table.name}" in text, table.name
    for column in pd.read_csv(project / "reports/questions.csv").columns:
        assert f"`{column}`" in text, column
