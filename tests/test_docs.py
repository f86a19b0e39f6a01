"""The code in the documents runs, on a made-up run."""

import re
from pathlib import Path

import pandas as pd
import pytest

from makd.params import validate
from stages.evaluate import Params, evaluate
from tests.made_up_runs import MadeUpRuns, write_frame

README_QUESTION = "Is the bird's tail forked?"


def blocks(document: str) -> str:
    """All of its Python, one after the other, as a reader would type it."""
    found = re.findall(r"^```python\n(.*?)^```", Path(document).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found, document
    return "\n".join(found)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made_up = MadeUpRuns(tmp_path)
    made_up.questions[0] = README_QUESTION
    made_up.write()
    write_frame(pd.DataFrame({"image_id": pd.Series(dtype=str)}), tmp_path / "data/zero_shot.parquet")
    block = {"bootstrap_samples": 100, "tsne_images": 10, "tsne_perplexity": 3.0}
    evaluate(
        validate(Params, {"dataset": "list", "models": made_up.models, "seeds": made_up.seeds, "evaluate": block}),
        manifest=made_up.manifest,
        aspects=made_up.aspects,
        zero_shot=tmp_path / "data/zero_shot.parquet",
        runs=made_up.runs,
        facts=tmp_path / "none",
        attributes=None,
        out=tmp_path / "reports",
    )
    return tmp_path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("document", ["README.md", "docs/data.md"])
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
