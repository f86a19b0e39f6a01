"""Each dvc.yaml tells the truth: what a stage depends on is what it imports, reads and declares."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from makd.params import StageParams, read_params
from stages import prepare_dataset, prepare_detection
from stages.prepare_dataset import check_params

ROOT, DETECTION = Path(), Path("pipelines/detection")
DAGS = {folder: yaml.safe_load((folder / "dvc.yaml").read_text())["stages"] for folder in (ROOT, DETECTION)}
DAG = DAGS[ROOT]
MODULES = {ROOT: prepare_dataset.STAGES, DETECTION: prepare_detection.STAGES}
ARM_PARAMS = {
    "train_baseline": "BaselineParams",
    "train_teacher": "TeacherParams",
    "train_detector_baseline": "BaselineParams",
}
EVERY_STAGE = pytest.mark.parametrize(
    ("folder", "stage"), [(folder, stage) for folder in DAGS for stage in DAGS[folder]]
)


def definition(stage: str, folder: Path = ROOT) -> dict[str, Any]:
    return dict(DAGS[folder][stage].get("do", DAGS[folder][stage]))


def module_of(stage: str, folder: Path = ROOT) -> str:
    found = re.search(r"python -m (stages\.\w+)", definition(stage, folder)["cmd"])
    assert found, f"{stage}: cmd does not run a module of stages/"
    return found[1]


def params_of(stage: str, folder: Path = ROOT) -> type[StageParams]:
    module = importlib.import_module(module_of(stage, folder))
    return getattr(module, ARM_PARAMS.get(stage, "Params"))  # type: ignore[no-any-return]


def names(entries: list[Any]) -> list[str]:
    """DVC's list entries: a name, or a mapping of a name to its settings."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def outputs(stage: str, folder: Path = ROOT) -> list[str]:
    return [name for kind in ("outs", "metrics", "plots") for name in names(definition(stage, folder).get(kind, []))]


@cache
def imported_files(file: Path) -> set[Path]:
    """First-party files that `file` imports, directly or through another one."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: absolute imports only, so that this test can follow them"
            modules |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    found = {path for module in modules if (path := Path(*module.split(".")).with_suffix(".py")).exists()}
    return found.union(*map(imported_files, found))


@EVERY_STAGE
def test_code_deps_are_the_import_closure(folder: Path, stage: str) -> None:
    module = Path(*module_of(stage, folder).split(".")).with_suffix(".py")
    up = "../" * len(folder.parts)  # stages run in the folder of their dvc.yaml
    listed = {dep for dep in definition(stage, folder)["deps"] if dep.endswith(".py")}
    assert listed == {up + path.as_posix() for path in imported_files(module) | {module}}


@EVERY_STAGE
def test_params_are_the_fields_of_the_stage(folder: Path, stage: str) -> None:
    roots = [key.split(".")[0] for key in definition(stage, folder).get("params", [])]  # a part stands for its block
    assert list(dict.fromkeys(roots)) == list(params_of(stage, folder).model_fields)


@EVERY_STAGE
def test_paths_in_the_command_are_deps_or_outs(folder: Path, stage: str) -> None:
    words = definition(stage, folder)["cmd"].removeprefix("PYTHONPATH=../.. ").split()
    paths = {word for word in words if "/" in word}
    declared = set(definition(stage, folder).get("deps", [])) | set(outputs(stage, folder))
    folders = {parent.as_posix() for path in declared for parent in Path(path).parents}
    assert paths <= declared | folders, "a path of the command that DVC does not know"


@pytest.mark.parametrize("folder", DAGS)
def test_every_stage_has_its_module_and_the_other_way_round(folder: Path) -> None:
    assert {module_of(stage, folder).removeprefix("stages.") for stage in DAGS[folder]} == set(MODULES[folder])
    assert {path.stem for path in Path("stages").glob("[a-z]*.py")} == {*MODULES[ROOT], *MODULES[DETECTION]}


def test_the_baseline_depends_on_neither_alpha_nor_the_answers() -> None:
    baseline = definition("train_baseline")
    assert not {"alpha", "n_questions", "aspect_loss", "aspect_targets"} & set(baseline["params"])
    assert not any("aspects" in dep or "answers" in dep for dep in baseline["deps"] if not dep.endswith(".py"))
    detector = definition("train_detector_baseline", DETECTION)
    assert detector["params"] == ["train_detector"]
    assert not any("aspects" in dep or "answers" in dep for dep in detector["deps"] if not dep.endswith(".py"))


def test_images_are_no_dep() -> None:
    assert not any(dep.startswith("data/birds/") for stage in DAG for dep in definition(stage).get("deps", []))


@pytest.mark.parametrize("package", ["makd", "stages"])
def test_package_inits_hold_no_code(package: str) -> None:
    body = ast.parse(Path(package, "__init__.py").read_text()).body
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def test_no_stage_imports_a_stage_and_makd_imports_no_stage() -> None:
    for file in [*Path("stages").glob("*.py"), *Path("makd").glob("*.py")]:
        assert not any(path.parts[0] == "stages" for path in imported_files(file)), file


def test_the_params_files_are_valid() -> None:
    check_params()
    prepare_detection.check_params(DETECTION / "params.yaml")


@pytest.mark.parametrize("folder", DAGS)
def test_there_are_no_anchors_in_params(folder: Path) -> None:
    events = yaml.parse((folder / "params.yaml").read_text())
    assert not any(getattr(event, "anchor", None) for event in events)


def test_new_weights_of_the_shipped_model_are_asked_anew() -> None:
    assert "data/tiny_vlm" in definition("extract_logits")["deps"]
    assert "../../data/tiny_vlm" in definition("extract_logits", DETECTION)["deps"]


@pytest.mark.parametrize("folder", DAGS)
def test_every_param_but_runtime_is_tracked_by_a_stage(folder: Path) -> None:
    tracked = {key for stage in DAGS[folder] for key in definition(stage, folder).get("params", []) if "." not in key}
    assert set(read_params(folder / "params.yaml")) - {"runtime"} == tracked


@pytest.mark.parametrize("stage", sorted({*MODULES[ROOT], *MODULES[DETECTION]}))
def test_help_shows_the_command_as_it_is_typed(
    stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [f"{stage}.py", "--help"])
    with pytest.raises(SystemExit):
        importlib.import_module(f"stages.{stage}").main()
    assert capsys.readouterr().out.startswith(f"usage: python -m stages.{stage} ")
