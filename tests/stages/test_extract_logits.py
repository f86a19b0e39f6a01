"""The stage on a tiny random InternVL and pictures of several shapes."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import makd.extraction
from makd.aspects import question_columns, read_aspects
from makd.class_teacher import SCORES, load_teacher, training_scores
from makd.errors import UserError
from makd.extraction_speed import kept_speed
from makd.files import cache_dir, write_json, write_parquet
from makd.given_answers import write_given
from makd.kd import Kd
from makd.manifest import read_manifest, write_manifest
from makd.params import read_params
from makd.pictures import image_id
from makd.provenance import provenance
from makd.questions import Question, write_questions
from makd.references import reference_accuracies
from makd.runtime import Runtime
from makd.scorer import Scorer
from makd.shards import Share
from makd.store import store_key
from makd.store_upkeep import compact, contents, keys, problems, read_provenance, unused_days
from stages.extract_logits import Params, extract_logits
from tests.extract_params import extract_params, extract_paths
from tests.tiny_models import save_tiny_internvl

RUNTIME = Runtime(workers=0, shard_images=4, progress=False, device="cpu")
QUESTIONS = ["Is it grey?", "Does the bird have a crest?", "Is the tail long?"]
N_IMAGES = 10
OUTS = ("aspects", "answers", "zero_shot")


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
    (tmp_path / "zero_shot.txt").write_text("Is this a $class_name?\n")
    return extract_paths(tmp_path, tmp_path)


def params(model: Path, n_questions: int = 3, **changed: Any) -> Params:
    return extract_params(model, n_questions, **{"splits": ["train", "test"]} | changed)


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
    assert list(problems(cache_dir() / "answers")) == [], "what a run leaves is what verify expects"


def test_what_asking_took_is_kept_beside_the_answers(model: Path, files: dict[str, Path]) -> None:
    extract_logits(params(model), RUNTIME, **files)
    (folder,) = (cache_dir() / "answers").iterdir()
    speed = kept_speed(folder)
    assert speed is not None
    assert (speed.images, speed.answers) == (N_IMAGES, N_IMAGES * len(QUESTIONS))
    assert 0 < speed.seconds < 60
    assert "thread" in speed.device
    extract_logits(params(model), RUNTIME, **files)
    assert kept_speed(folder) == speed, "a run that asks nothing is no measure"


def test_a_second_run_asks_nothing_and_gives_the_same_bytes(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    first = [files[name].read_bytes() for name in ("aspects", "answers")]
    asked(capsys)
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == 0
    assert [files[name].read_bytes() for name in ("aspects", "answers")] == first


def test_a_run_that_only_reads_counts_as_use_of_the_store(model: Path, files: dict[str, Path], own_cache: Path) -> None:
    extract_logits(params(model), RUNTIME, **files)
    (folder,) = (own_cache / "answers").iterdir()
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    assert unused_days(folder) > 365
    extract_logits(params(model), RUNTIME, **files)
    assert unused_days(folder) < 1


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


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": "bfloat16"},
        {"attention": "eager"},
        {"processor": {"max_patches": 1}},
        {"shared_prefix": False},
        {"answers": ["No", "Yes"]},
    ],
)
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
    rows = read_manifest(files["manifest"])
    rows.loc[rows["path"] == bad.as_posix(), "image_id"] = image_id(b"no picture")
    write_manifest(rows, files["manifest"])
    extract_logits(params(model), RUNTIME, **files)
    assert f"{bad} cannot be read as a picture" in capsys.readouterr().err
    table = read_aspects(files["aspects"]).set_index("path")
    assert table.loc[bad.as_posix(), QUESTIONS].isna().all()
    assert table[QUESTIONS].notna().sum().sum() == (N_IMAGES - 1) * 3


def test_more_questions_than_there_are_is_refused_before_the_model_is_loaded(
    model: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(makd.extraction, "ask_missing", None)
    with pytest.raises(UserError, match=r"n_questions is 4, but .*selected.json has 3"):
        extract_logits(params(model, n_questions=4), RUNTIME, **files)


def test_classes_are_asked_where_that_is_wanted_and_kept_apart(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model, zero_shot_splits=["test"]), RUNTIME, **files)
    assert asked(capsys) == N_IMAGES * 3 + 1 * 2, "the one test image, two classes"
    table = pd.read_parquet(files["zero_shot"])
    assert list(table["split"]) == ["test"]
    assert list(table.columns[-2:]) == ["class: a", "class: b"]
    assert table[["class: a", "class: b"]].notna().all(axis=None)
    assert question_columns(read_aspects(files["aspects"])) == QUESTIONS
    assert len(pd.read_parquet(files["answers"])) == N_IMAGES * 3 + 2


def test_classes_asked_later_cost_themselves_alone_and_change_no_aspect(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    before = files["aspects"].read_bytes()
    assert len(pd.read_parquet(files["zero_shot"])) == 0
    capsys.readouterr()
    extract_logits(params(model, splits=["train"], zero_shot_splits=["val", "test"]), RUNTIME, **files)
    assert asked(capsys) == 2
    extract_logits(params(model), RUNTIME, **files)
    assert files["aspects"].read_bytes() == before
    assert len(pd.read_parquet(files["answers"])) == N_IMAGES * 3, "what was asked once and is no longer wanted"


def test_the_estimate_asks_nothing_and_says_what_asking_costs(
    model: Path, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extract_logits(params(model), RUNTIME, True, **files)
    said = capsys.readouterr().out
    assert "10 images x 3 questions: 30 answers wanted, 30 to ask" in said
    assert re.search(
        r"3 questions: \d+ tokens and [\d.]+ MFLOP an image, [\d.e+]+ images/s.*: \d+ s for 10 images", said
    )
    assert not files["aspects"].exists()
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == 30


def test_a_ctrl_c_keeps_the_shard_in_flight(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Scorer.score
    batches = []

    def pressing(self: Scorer, batch: list[Any]) -> Any:
        batches.append(len(batch))
        if len(batches) == 6:  # in the second shard of four images
            os.kill(os.getpid(), signal.SIGINT)
        return score(self, batch)

    monkeypatch.setattr(Scorer, "score", pressing)
    with pytest.raises(KeyboardInterrupt):
        extract_logits(params(model), Runtime(**RUNTIME.model_dump() | {"batch_images": 1}), **files)
    assert "stopping after this shard" in capsys.readouterr().out
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == (N_IMAGES - 2 * 4) * 3


def test_all_that_params_say_of_the_model_reaches_it(
    model: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def load(model: Path, **kwargs: Any) -> str:
        seen.update(kwargs, model=model)
        return "the model"

    def refuse(vlm: str, messages: list[str], answers: tuple[str, str], share: bool) -> None:
        seen.update(vlm=vlm, messages=messages, answers=answers, share=share)
        raise UserError("enough")

    monkeypatch.setattr("makd.vlm.VLM", load)
    monkeypatch.setattr("makd.scorer.Scorer", refuse)
    changed: dict[str, Any] = {
        "dtype": "bfloat16",
        "attention": "eager",
        "answers": ["No", "Yes"],
        "processor": {"max_patches": 2},
        "revision": "main",
        "quantization": "8bit",
        "shared_prefix": False,
    }
    with pytest.raises(UserError, match="enough"):
        extract_logits(params(model, **changed), Runtime(**RUNTIME.model_dump() | {"device_map": "auto"}), **files)
    assert seen == {
        "model": model,
        "vlm": "the model",
        "messages": [f"{text} Yes or No?" for text in QUESTIONS],
        "dtype": torch.bfloat16,
        "attention": "eager",
        "answers": ("No", "Yes"),
        "processor_kwargs": {"max_patches": 2},
        "revision": "main",
        "quantization": "8bit",
        "share": False,
        "device": torch.device("cpu"),
        "device_map": "auto",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": "float16"},
        {"quantization": "4bit", "dtype": "bfloat16"},
        {"attention": "eager"},
        {"shared_prefix": False},
        {"answers": ["yes", "no"]},
        {"processor": {"max_patches": 2}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_key_holds_all_that_determines_a_number(
    model: Path, files: dict[str, Path], changed: dict[str, Any]
) -> None:
    dtype = {"dtype": "bfloat16"} if "quantization" in changed else {}
    one, other = (params(model, **block).extract_logits for block in (dtype, changed))
    assert store_key(provenance(one, files["prompt"])) != store_key(provenance(other, files["prompt"]))


def test_which_images_are_wanted_is_not_in_the_key(model: Path, files: dict[str, Path]) -> None:
    one = params(model).extract_logits
    other = params(model, splits=["train"], zero_shot_splits=["test"]).extract_logits
    assert provenance(one, files["prompt"]) == provenance(other, files["prompt"])


def test_other_weights_and_another_scoring_rule_ask_all_anew(
    model: Path,
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == 30
    extract_logits(params(save_tiny_internvl(tmp_path / "other", seed=1)), RUNTIME, **files)
    assert asked(capsys) == 30
    monkeypatch.setattr("makd.provenance.SCORING_VERSION", -1)
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == 30


def test_a_picture_that_is_no_longer_that_of_the_manifest_is_not_asked(
    model: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "5.png")
    with pytest.raises(UserError, match=r"5\.png.*manifest"):
        extract_logits(params(model), RUNTIME, **files)


def test_a_picture_that_is_not_there_stops_the_run(model: Path, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "5.png").unlink()
    with pytest.raises(UserError, match=r"5\.png"):
        extract_logits(params(model), RUNTIME, **files)


def test_odd_pictures_are_handled_or_named_and_null(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, Path]
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("P").save(folder / "palette.gif", save_all=True, append_images=[picture.rotate(90)])
    picture.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(rng.integers(0, 65535, (40, 60), dtype=np.uint16)).save(folder / "grey16.png")
    Image.new("RGB", (1, 1), "red").save(folder / "pixel.png")
    picture.resize((12_000, 40)).save(folder / "long.png")
    (folder / "cut.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:400])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    names = sorted(path.name for path in folder.iterdir())
    rows = [(image_id((folder / name).read_bytes()), (folder / name).as_posix(), "train", 0, "a") for name in names]
    write_manifest(pd.DataFrame(rows, columns=["image_id", "path", "split", "label", "class_name"]), files["manifest"])
    extract_logits(params(model), RUNTIME, **files)
    table = read_aspects(files["aspects"])
    null = {Path(path).name for path in table.loc[table[QUESTIONS].isna().all(axis=1), "path"]}
    said = capsys.readouterr()
    assert {"cut.jpg", "empty.jpg", "text.jpg"} <= null <= {"cut.jpg", "empty.jpg", "text.jpg", "long.png", "pixel.png"}
    assert f"{len(null)} images could not be read" in said.err
    assert all(name in said.err for name in null)
    assert table[QUESTIONS].isna().all(axis=1).sum() * 3 == table[QUESTIONS].isna().sum().sum(), "all or nothing"


def test_not_one_readable_picture_is_an_error(model: Path, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    rows = [(image_id(b"no picture"), (tmp_path / "text.jpg").as_posix(), "train", 0, "a")]
    write_manifest(pd.DataFrame(rows, columns=["image_id", "path", "split", "label", "class_name"]), files["manifest"])
    with pytest.raises(UserError, match="none of 1 images can be read"):
        extract_logits(params(model), RUNTIME, **files)


def test_a_few_images_a_class_are_asked_and_more_of_them_cost_the_others_alone(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    few: dict[str, Any] = {"splits": ["train"]}
    extract_logits(params(model, images_per_class=2, **few), RUNTIME, **files)
    said = capsys.readouterr().out
    assert "4 images x 3 questions, of the training images 2 a class: 12 answers wanted, 12 to ask" in said
    table = read_aspects(files["aspects"])
    assert list(table.loc[table[QUESTIONS[0]].notna(), "class_name"].value_counts()) == [2, 2]
    extract_logits(params(model, images_per_class=3, **few), RUNTIME, **files)
    assert asked(capsys) == 2 * 3
    extract_logits(params(model, **few), RUNTIME, **files)
    assert asked(capsys) == 3 * 3


def give(files: dict[str, Path], questions: list[str]) -> None:
    """Class a has 0.25, class b 1."""
    table = pd.DataFrame({question: [0.25, 1.0] for question in questions}, dtype=np.float32)
    write_given(table.set_axis(pd.Index(["a", "b"], name="class_name")), files["given_answers"])


def use_table(files: dict[str, Path], n_questions: int = 3, **changed: Any) -> None:
    block = {"backend": "table", "table": "my.csv"}
    extract_logits(params(Path("no/model"), n_questions, **block | changed), RUNTIME, **files)


def test_given_answers_need_neither_model_nor_store(
    files: dict[str, Path], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give(files, QUESTIONS)
    use_table(files, splits=["train"], n_questions=2)
    table = read_aspects(files["aspects"])
    assert question_columns(table) == QUESTIONS[:2]
    train = table[table["split"] == "train"]
    assert (train[QUESTIONS[0]] == train["class_name"].map({"a": 0.25, "b": 1})).all()
    assert table.loc[table["split"] == "test", QUESTIONS[:2]].isna().all(axis=None)
    assert len(pd.read_parquet(files["zero_shot"])) == 0
    assert not (own_cache / "answers").exists()
    assert "2 questions: the answers are those of my.csv, 0 to ask" in capsys.readouterr().out


def test_shares_are_of_images_that_are_asked_and_of_the_local_engine(model: Path, files: dict[str, Path]) -> None:
    table = params(model, backend="table", table="my.csv")
    with pytest.raises(UserError, match=r"--shard 1/2: extract_logits.backend table asks about no image"):
        extract_logits(table, RUNTIME, False, Share(1, 2), **files)
    on_ray = RUNTIME.model_copy(update={"engine": "ray"})
    served = params(model, backend="server")
    with pytest.raises(UserError, match=r"runtime.engine ray .* extract_logits.backend server has its model elsewhere"):
        extract_logits(served, on_ray, **files)
    with pytest.raises(UserError, match=r"--shard 1/2: runtime.engine ray shares out .*set runtime.engine to local"):
        extract_logits(params(model), on_ray, False, Share(1, 2), **files)


def test_shares_one_after_the_other_give_the_same_bytes(
    model: Path, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where classes are asked of one split, and a picture cannot be read."""
    Path(read_manifest(files["manifest"])["path"][3]).write_bytes(b"no picture")
    rows = read_manifest(files["manifest"])
    rows["image_id"] = [image_id(Path(path).read_bytes()) for path in rows["path"]]
    write_manifest(rows, files["manifest"])
    shares = {name: tmp_path / "shares" / path.name if name in OUTS else path for name, path in files.items()}
    runtime = RUNTIME.model_copy(update={"shard_images": 2})
    with_classes = params(model, zero_shot_splits=["test"])
    for number in (3, 1, 2):
        extract_logits(with_classes, runtime, False, Share(number, 3), **shares)
    assert asked(capsys) == (N_IMAGES - 1) * 3 + 2
    extract_logits(with_classes, runtime, **shares)
    assert asked(capsys) == 0, "all that is missing cannot be read"
    (cache_dir() / "answers").rename(tmp_path / "of the shares")
    extract_logits(with_classes, runtime, **files)
    for name in OUTS:
        assert shares[name].read_bytes() == files[name].read_bytes(), name


def test_equal_given_answers_give_equal_bytes(files: dict[str, Path]) -> None:
    give(files, QUESTIONS)
    use_table(files)
    first = [files[name].read_bytes() for name in ("aspects", "answers", "zero_shot")]
    use_table(files)
    assert [files[name].read_bytes() for name in ("aspects", "answers", "zero_shot")] == first


def test_a_model_asked_after_a_table_was_used_answers_all_itself(
    model: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    give(files, QUESTIONS)
    use_table(files)
    capsys.readouterr()
    extract_logits(params(model), RUNTIME, **files)
    assert asked(capsys) == N_IMAGES * 3
    assert not read_aspects(files["aspects"])[QUESTIONS].isin([0.25, 1.0]).any(axis=None)


def test_questions_without_given_answers_are_refused(files: dict[str, Path]) -> None:
    give(files, QUESTIONS[:1])
    with pytest.raises(UserError, match=r"given.parquet has no answers to .*run: dvc repro"):
        use_table(files)


def test_more_questions_than_the_table_has_are_refused(files: dict[str, Path]) -> None:
    write_questions([Question(text=QUESTIONS[0])], files["selected"], model="extract_logits.table", prompt=None)
    with pytest.raises(UserError, match=r"n_questions is 3, but .* has 1; lower it, or give a table with more columns"):
        use_table(files)


def about_classes(files: dict[str, Path], estimate: bool = False, **changed: Any) -> None:
    extract_logits(params(Path("no/model"), backend="class_llm", **changed), RUNTIME, estimate, **files)


def test_a_text_llm_answers_once_a_class(
    files: dict[str, Path], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files["grade_prompt"].write_text("$n_classes $class_list $class_name $n_questions $questions\n")
    about_classes(files, True)
    assert "2 classes x 3 questions: 2 requests" in capsys.readouterr().out
    with pytest.raises(UserError, match="2 of 2 requests have no recorded reply"):
        about_classes(files)
    assert not files["aspects"].exists()
    for form in (own_cache / "llm").glob("*.request.json"):
        filled = json.loads(form.read_text()) | {"written_by": "a test"}
        filled["reply"] = {
            "percent": [0, 50, 100] if " a 3 " in filled["request"]["messages"][0]["content"] else [5] * 3
        }
        write_json(filled, files["recordings"] / form.name.replace(".request", ""))
    about_classes(files)
    table = read_aspects(files["aspects"])
    assert table.loc[table["class_name"] == "a", QUESTIONS].drop_duplicates().to_numpy().tolist() == [[0, 0.5, 1]]
    assert table.loc[table["class_name"] == "b", QUESTIONS].eq(np.float32(0.05)).all(axis=None)
    assert not pd.read_parquet(files["answers"])["exact"].any()


def test_the_way_of_asking_about_classes_has_its_own_prompt(
    files: dict[str, Path], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files["class_prompt"].write_text("$n_classes $class_list $class_name $question\n")
    with pytest.raises(UserError, match="6 of 6 requests have no recorded reply"):
        about_classes(files, class_answers="logprobs")
    assert "2 classes x 3 questions: 6 requests" in capsys.readouterr().out


@pytest.mark.parametrize("answers", [["Yes", "Yes"], ["", "No"]])
def test_answers_must_be_two_words(model: Path, answers: list[str]) -> None:
    with pytest.raises(ValueError, match="two different words"):
        params(model, answers=answers)


def test_quantized_weights_need_a_16_bit_dtype(model: Path) -> None:
    with pytest.raises(ValueError, match="8bit needs a 16-bit dtype: bfloat16 or float16"):
        params(model, quantization="8bit")


def test_those_who_use_the_class_scores_can_read_them(model: Path, files: dict[str, Path], tmp_path: Path) -> None:
    extract_logits(params(model, zero_shot_splits=["train", "test"]), RUNTIME, **files)
    manifest = read_manifest(files["manifest"])
    table = pd.read_parquet(files["zero_shot"]).set_index("image_id")
    scores = table[["class: a", "class: b"]].to_numpy()
    of_test = (table["split"] == "test").to_numpy()
    right = scores[of_test].argmax(axis=1) == table["label"].to_numpy()[of_test]
    found = reference_accuracies(manifest, teacher=tmp_path / "none", zero_shot=files["zero_shot"])
    assert found == {"zero_shot": 100 * right.mean()}
    write_parquet(training_scores(files["zero_shot"]), tmp_path / SCORES)
    kd = Kd.model_validate(read_params()["kd"] | {"source": "mllm"})
    images = manifest.loc[manifest["split"] == "train", "image_id"]
    teacher = load_teacher(kd, tmp_path, images, ["a", "b"], torch.device("cpu"))
    logits = teacher.logits(np.arange(len(images)), torch.zeros(len(images), 3, 8, 8))
    np.testing.assert_allclose(torch.sigmoid(logits), table.loc[images, ["class: a", "class: b"]], atol=1e-5)


def test_an_estimate_leaves_a_store_that_its_tools_understand(model: Path, files: dict[str, Path]) -> None:
    extract_logits(params(model), RUNTIME, True, **files)
    root = cache_dir() / "answers"
    [key] = keys(root)
    assert contents(root / key).answers == 0
    assert read_provenance(root / key)["dtype"] == "float32"
    assert list(problems(root)) == []
    assert compact(root, key) == (0, 0)


def test_a_lost_description_of_a_full_store_comes_back(model: Path, files: dict[str, Path]) -> None:
    extract_logits(params(model), RUNTIME, **files)
    [path] = (cache_dir() / "answers").glob("*/provenance.json")
    before = path.read_bytes()
    path.unlink()
    extract_logits(params(model), RUNTIME, **files)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("selected", None, r"selected.json cannot be read: .*run: dvc repro select_questions"),
        ("selected", b"", r"selected.json cannot be read: .*run: dvc repro select_questions"),
        ("manifest", None, r"manifest.parquet cannot be read: .*run: dvc repro$"),
        ("manifest", b"PAR1", r"manifest.parquet cannot be read: .*run: dvc repro$"),
        ("prompt", b"$question \xff", r"ask.txt is not UTF-8"),
        ("prompt", b"Is it?", r"missing: \$question"),
    ],
)
def test_a_bad_input_is_one_line_before_a_model_is_loaded(
    files: dict[str, Path], tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    files[name].unlink() if content is None else files[name].write_bytes(content)
    with pytest.raises(UserError, match=said):
        extract_logits(params(save_config(tmp_path / "model")), RUNTIME, True, **files)


def save_config(folder: Path) -> Path:
    """What takes a model's place until it is loaded."""
    write_json({}, folder / "config.json")
    return folder
