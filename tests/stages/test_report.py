import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import stages.report
from makd.errors import UserError
from makd.params import read_params, validate
from makd.runtime import Runtime
from makd.tsne_figure import tsne_figure
from stages.report import Params, report, what_makd_learns
from tests.made_up_report import SMALLEST, evaluated, files_below, write_costs, write_truth
from tests.made_up_runs import MadeUpRuns

FIGURES = ["accuracy", "cards", "class_aspects", "class_means", "contact_sheet", "questions", "training", "tsne"]
RUNTIME = Runtime(workers=2, progress=False)


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUpRuns:
    return MadeUpRuns(tmp_path).write()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page alone: figures take seconds."""
    monkeypatch.setattr(stages.report, "draw", lambda *_: None)


def params_of(made_up: MadeUpRuns, **changes: object) -> Params:
    values = read_params() | {"dataset": "birds", "models": made_up.models, "seeds": made_up.seeds} | changes
    return validate(Params, {name: values[name] for name in Params.model_fields})


def run(made_up: MadeUpRuns, **changes: Any) -> Path:
    """The folder with the page, of the tables that are there or else are made now."""
    tables = made_up.root / "reports"
    if not tables.exists():
        evaluated(made_up, **changes)
    costs, out = made_up.root / "costs/costs.csv", made_up.root / "page"
    write_costs(costs, changes.get("models", made_up.models))
    report(
        params_of(made_up, **changes),
        RUNTIME,
        manifest=made_up.manifest,
        aspects=made_up.aspects,
        runs=made_up.runs,
        tables=tables,
        costs=costs,
        out=out,
    )
    return out


@pytest.mark.filterwarnings("error")
def test_page_and_figures_are_written_without_a_warning(
    made_up: MadeUpRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(made_up)
    figures = [f"figures/{name}.png" for name in FIGURES]
    assert sorted(files_below(out)) == [*figures, "index.html"]
    for name in figures:
        Image.open(out / name).verify()
    assert re.search(r"index\.html: \d\.\d MB; open it in a browser", capsys.readouterr().out)


def test_the_page_says_what_the_tables_say(made_up: MadeUpRuns, undrawn: None) -> None:
    write_truth(made_up)
    text = (run(made_up) / "index.html").read_text()
    for words in ("makd on birds", *made_up.models, *made_up.classes, *made_up.questions, "a GPU", "source commit"):
        assert words in text
    assert "36 test images of 3 classes, 4 questions, 2 seeds." in text
    assert "the teacher is right on 50.0 % of the answers" in text
    assert "nesterov" in text, "params.yaml is shown whole"


def test_the_tsne_is_of_the_run_in_its_title(made_up: MadeUpRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def spy(embeddings: Any, answers: Any, *rest: Any, **names: Any) -> Any:
        drawn.append((answers, names))
        return tsne_figure(embeddings, answers, *rest, **names)

    monkeypatch.setattr("makd.tsne_figure.tsne_figure", spy)
    monkeypatch.setattr("makd.figures.save_figure", lambda *_: None)
    monkeypatch.setattr(stages.report, "page", lambda *_: "")
    run(made_up, models=made_up.models[::-1], seeds=made_up.seeds[::-1])
    ((answers, names),) = drawn
    assert names == {"student": made_up.models[1], "name": f"{made_up.models[1]}, seed 1"}
    test = made_up.images["split"] == "test"
    assert np.array_equal(answers["teacher"], made_up.p_yes[test])


def test_the_questions_shown_by_class_are_those_that_the_class_tells_most_of(
    made_up: MadeUpRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last question is the class, the others noise, one of them without an answer."""
    labels = made_up.images["label"].to_numpy()
    made_up.p_yes[:] = np.random.default_rng(0).uniform(0.3, 0.7, made_up.p_yes.shape)
    made_up.p_yes[:, 3] = labels == 1
    made_up.p_yes[:, 0] = np.nan
    made_up.save_answers()
    chosen: list[list[int]] = []

    def spy(means: Any, questions: list[int], n_images: int) -> str:
        chosen.append(questions)
        return "figure"

    monkeypatch.setattr("makd.aspect_figures.class_means_figure", spy)
    monkeypatch.setattr("makd.figures.save_figure", lambda *_: None)
    monkeypatch.setattr(stages.report, "page", lambda *_: "")
    run(made_up)
    assert (chosen[0][0], chosen[0][-1]) == (3, 0)
    assert sorted(chosen[0]) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",), seeds=(0,)).write()
    first = files_below(run(made_up))
    shutil.rmtree(made_up.root / "page")
    assert files_below(run(made_up)) == first


def test_pictures_are_shown_where_they_are_and_grey_where_they_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",), seeds=(0,)).write()
    monkeypatch.setenv("DVC_ROOT", str(made_up.root / "main"))
    grey = run(made_up)
    page, sheet = (grey / "index.html").read_text(), Image.open(grey / "figures/contact_sheet.png").convert("RGB")
    made_up.write_pictures(made_up.root / "main")
    shown = run(made_up)
    assert (shown / "index.html").read_text() != page
    colours = Image.open(shown / "figures/contact_sheet.png").convert("RGB").getcolors(10**6)
    greys = sheet.getcolors(10**6)
    assert greys is not None
    assert colours is not None
    assert not any(blue - red > 100 for _, (red, _, blue) in greys)
    assert any(blue - red > 100 for _, (red, _, blue) in colours)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [*SMALLEST[:2], pytest.param(SMALLEST[2], marks=pytest.mark.slow)])
def test_the_smallest_datasets_have_a_report(tmp_path: Path, size: dict[str, int]) -> None:
    out = run(MadeUpRuns(tmp_path, **size).write())  # type: ignore[arg-type]
    assert len(files_below(out)) == 1 + len(FIGURES)


@pytest.mark.filterwarnings("error")
def test_a_teacher_that_was_asked_about_no_test_image_leaves_gaps_in_the_report(made_up: MadeUpRuns) -> None:
    made_up.p_yes[made_up.images["split"] != "train"] = np.nan
    made_up.save_answers()
    text = (run(made_up) / "index.html").read_text()
    assert "was not asked about the test images" in text


@pytest.mark.filterwarnings("error")
def test_a_teacher_that_said_nothing_at_all_leaves_a_report(tmp_path: Path) -> None:
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",), seeds=(0,)).write()
    made_up.p_yes[:] = np.nan
    made_up.save_answers()
    assert len(files_below(run(made_up))) == 1 + len(FIGURES)


@pytest.mark.filterwarnings("error")
def test_students_that_are_always_right_have_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no confusion to show, and one kind of card."""
    monkeypatch.setattr("tests.made_up_runs.ARM_SKILL", {"baseline": 50.0, "makd": 50.0})
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",)).write()
    text = (run(made_up) / "index.html").read_text()
    assert "the gap is +0.0 ± 0.0 points" in text
    assert "both right" in text
    assert "mended by makd" not in text


def test_texts_of_strangers_are_no_markup(tmp_path: Path, undrawn: None) -> None:
    made_up = MadeUpRuns(tmp_path, models=("resnet10t",), seeds=(0,))
    made_up.classes[1] = "<script>alert(1)</script>"
    made_up.questions[0] = "</script><b>Is it $5?"
    text = (run(made_up.write()) / "index.html").read_text()
    assert "<script>alert(1)" not in text
    assert "</script><b>" not in text


def test_only_what_evaluate_found_is_drawn(made_up: MadeUpRuns, undrawn: None) -> None:
    run(made_up)
    (made_up.root / "reports/embeddings.parquet").unlink()
    with pytest.raises(UserError, match=r"embeddings\.parquet .*; run: dvc repro --force evaluate"):
        run(made_up)


@pytest.mark.slow
def test_the_command_shows_the_params_without_the_runtime(made_up: MadeUpRuns, tmp_path: Path) -> None:
    evaluated(made_up)
    write_costs(made_up.root / "costs.csv", made_up.models)
    params = read_params() | {"dataset": "birds", "models": list(made_up.models), "seeds": [0, 1], "alpha": 3.75}
    params["runtime"] = params.get("runtime", {}) | {"shard_images": 54321}
    (made_up.root / "params.yaml").write_text(yaml.safe_dump(params))
    places = {"manifest": "data/manifest.parquet", "aspects": "data/aspects.parquet", "runs": "models"}
    places |= {"tables": "reports", "costs": "costs.csv", "out": "page"}
    options = [word for name, path in places.items() for word in (f"--{name}", path)]
    environment = {"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    environment["GIT_CEILING_DIRECTORIES"] = str(tmp_path.parent)
    subprocess.run([sys.executable, "-m", "stages.report", *options], cwd=made_up.root, env=environment, check=True)
    text = (made_up.root / "page/index.html").read_text()
    assert "alpha: 3.75" in text
    assert "54321" not in text
    assert "unknown: git tells none here" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "the aspects at alpha 25"),
        ({"aspect_targets": "random"}, "random answers in place of the teacher's, the aspects at alpha 25"),
        ({"alpha": 0.0, "kd": {"source": "classifier", "method": "kd"}}, "class distillation (kd) from the classifier"),
        ({"alpha": 0.0}, "nothing else (alpha 0)"),
    ],
)
def test_an_ablation_is_not_called_the_method(changes: dict[str, Any], said: str) -> None:
    params = validate(Params, {key: value for key, value in read_params().items() if key != "runtime"} | changes)
    assert what_makd_learns(params) == said
