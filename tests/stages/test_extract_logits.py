"""The stage on a tiny random InternVL and pictures of several shapes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import makd.extraction
from makd.aspects import question_columns, read_aspects
from makd.errors import UserError
from makd.manifest import write_manifest
from makd.pictures import image_id
from makd.questions import Question, write_questions
from makd.runtime import Runtime
from stages.extract_logits import Params, extract_logits
from tests.tiny_models import save_tiny_internvl

RUNTIME = Runtime(workers=0, shard_images=4, progress=False, device="cpu")
QUESTIONS = ["Is it grey?", "Does the bird have a crest?", "Is the tail long?"]
N_IMAGES = 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    rows = []
    for k in range(N_IMAGES):
        path = tmp_path / f"{k}.png"
        size = (32, 32) if k % 3 else (64, 32)
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
        split = "test" if k == N_IMAGES - 1 else "train"
        rows.append((image_id(path.read_bytes()), path.as_posix(), split, k % 2, "ab"[k % 2]))
    columns = ["image_id", "path", "split", "label", "class_name"]
    write_manifest(pd.DataFrame(rows, columns=columns), tmp_path / "manifest.parquet")
    write_questions([Question(text=text) for text in QUESTIONS], tmp_path / "selected.json", model="m", prompt="p")
    (tmp_path / "ask.txt").write_text("$question Yes or No?\n")
    names = {"manifest": "manifest.parquet", "selected": "selected.json", "prompt": "ask.txt"}
    outs = {"aspects": "aspects.parquet", "answers": "answers.parquet"}
    return {key: tmp_path / name for key, name in (names | outs).items()}


def params(model: Path, n_questions: int = 3, **changed: Any) -> Params:
    block: dict[str, Any] = {
        "backend": "transformers",
        "model": str(model),
        "revision": None,
        "dtype": "float32",
        "attention": "sdpa",
        "answers": ["Yes", "No"],
        "processor": {},
        "splits": ["train", "test"],
    }
    return Params.model_validate({"n_questions": n_questions, "extract_logits": block | changed})


def asked(capsys: pytest.CaptureFixture[str]) -> int:
    """How many questions the last run asked, by its own account."""
    lines = capsys.readouterr().out.splitlines()
    counts = [int(line.split()[0]) for line in lines if line.endswith("questions asked")]
    return sum(counts)


def test_every_image_is_asked_every_question(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    table = read_aspects(files["aspects"])
    assert question_columns(table) == QUESTIONS
    assert table[QUESTIONS].notna().all(axis=None)
    assert table[QUESTIONS].std().min() > 1e-3
    assert len(pd.read_parquet(files["answers"])) == asked(capsys) == N_IMAGES * 3


def test_a_second_run_asks_nothing_and_gives_the_same_bytes(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    first = [files[name].read_bytes() for name in ("aspects", "answers")]
    asked(capsys)
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == 0
    assert [files[name].read_bytes() for name in ("aspects", "answers")] == first


def test_fewer_questions_are_a_part_of_the_same_answers(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    whole = read_aspects(files["aspects"])
    asked(capsys)
    extract_logits(params(model, n_questions=2), RUNTIME, **files)
    assert asked(capsys) == 0
    assert read_aspects(files["aspects"]).equals(whole.drop(columns=QUESTIONS[2]))


def test_after_a_lost_shard_only_that_shard_is_asked_and_the_bytes_are_the_same(
    model: Path, files: dict[str, Path], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    first = files["aspects"].read_bytes()
    asked(capsys)
    files["aspects"].unlink()
    files["answers"].unlink()  # else the answers would come back from it
    part = sorted(own_cache.glob("answers/*/part-*.parquet"))[1]
    part.rename(part.with_name(f".{part.name}.half-written"))
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == 4 * 3
    assert files["aspects"].read_bytes() == first


def test_a_lost_store_is_filled_from_the_tables_of_the_last_run(
    model: Path,
    files: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extract_logits(params(model, n_questions=2), RUNTIME, **files)
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "another cache"))
    asked(capsys)
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == N_IMAGES  # the third question alone


@pytest.mark.parametrize("changed", [{"dtype": "bfloat16"}, {"attention": "eager"}, {"processor": {"max_patches": 1}}])
def test_what_determines_a_number_asks_all_anew(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str], changed: dict[str, Any]
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    asked(capsys)
    extract_logits(params(model, **changed), RUNTIME, **files)
    assert asked(capsys) == N_IMAGES * 3


def test_another_prompt_asks_all_anew(model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    extract_logits(params(model), RUNTIME, **files)
    before = read_aspects(files["aspects"])
    asked(capsys)
    files["prompt"].write_text("$question Is it so?\n")
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == N_IMAGES * 3
    assert not read_aspects(files["aspects"]).equals(before)


def test_splits_that_are_not_asked_are_null(model: Path, files: dict[str, Path]) -> None:
    extract_logits(params(model, splits=["train"]), RUNTIME, **files)
    table = read_aspects(files["aspects"])
    assert table.loc[table["split"] == "test", QUESTIONS].isna().all(axis=None)
    assert table.loc[table["split"] == "train", QUESTIONS].notna().all(axis=None)


def test_an_unreadable_image_is_named_and_null(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = files["manifest"].parent / "3.png"
    bad.write_bytes(b"no picture")
    extract_logits(params(model), RUNTIME, **files)
    assert f"{bad}: UnreadablePicture" in capsys.readouterr().err
    table = read_aspects(files["aspects"]).set_index("path")
    assert table.loc[bad.as_posix(), QUESTIONS].isna().all()
    assert table[QUESTIONS].notna().sum().sum() == (N_IMAGES - 1) * 3


def test_more_questions_than_there_are_is_refused_before_the_model_is_loaded(
    model: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(makd.extraction, "ask_missing", None)
    with pytest.raises(UserError, match=r"n_questions is 4, but .*selected.json has 3"):
        extract_logits(params(model, n_questions=4), RUNTIME, **files)
