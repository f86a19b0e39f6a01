import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import makd.scorer
import makd.vlm
from makd.answers import Answers
from makd.errors import UserError
from makd.files import cache_dir, write_json
from makd.given_answers import write_given
from makd.llm import LLMParams
from makd.manifest import read_manifest, write_manifest
from makd.params import read_params
from makd.pictures import image_id
from makd.provenance import provenance
from makd.question_selection import rank_by_information
from makd.questions import Question, read_prompt, read_questions, write_questions
from makd.store import AnswerStore
from stages.prepare_dataset import check_params
from stages.select_questions import Params, Ranking, select_questions
from tests.fake_extraction import QUESTIONS as ASKED
from tests.fake_extraction import FakeScorer, make_project, run_stage

PROMPTS = Path(__file__).parents[2] / "prompts"
PARAMS = Path(__file__).parents[2] / "params.yaml"
QUESTIONS = [Question(text=f"Does the bird have a red {part}?") for part in ("beak", "tail", "crest", "wing")]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "cache"))
    write_questions(QUESTIONS, Path("candidates.json"), model="tiny", prompt="The classes are Crow and Gull.")


def params(method: str, max_attempts: int = 2, **changed: Any) -> Params:
    """Those of params.yaml, a model's folder of three bytes, and what is changed of the block `extract_logits`."""
    llm = LLMParams(
        backend="recorded", model="tiny", base_url=None, temperature=0, max_attempts=max_attempts, timeout_s=1
    )
    block = read_params(PARAMS)["extract_logits"] | {"model": "model"} | changed
    return Params.model_validate({"llm": llm, "extract_logits": block, "select_questions": {"method": method}})


def run(max_attempts: int = 2, method: str = "llm", **changed: Any) -> None:
    select_questions(
        params(method, max_attempts, **changed),
        candidates=Path("candidates.json"),
        manifest=Path("manifest.parquet"),
        given_answers=Path("given.parquet"),
        prompt=PROMPTS / "select_questions.txt",
        system=PROMPTS / "system.txt",
        ask_prompt=Path("ask.txt"),
        recordings=Path("recordings"),
        selected=Path("selected.json"),
    )


def record_next_reply(ranking: list[int]) -> list[str]:
    """Fill in the request that has no recording yet, as a person would; returns the request's messages."""
    with pytest.raises(UserError, match=r"recordings has no reply|answer what would be asked next"):
        run()
    (blank,) = (cache_dir() / "llm").glob("*.request.json")
    filled_in = json.loads(blank.read_text()) | {"reply": {"ranking": ranking}, "written_by": "a test"}
    write_json(filled_in, Path("recordings") / blank.name.replace(".request", ""))
    blank.unlink()
    return [message["content"] for message in filled_in["request"]["messages"]]


def test_all_questions_are_written_in_rank_order() -> None:
    record_next_reply([3, 1, 4, 2])
    run()
    assert read_questions(Path("selected.json")) == [QUESTIONS[number - 1] for number in (3, 1, 4, 2)]
    assert [row["rank"] for row in json.loads(Path("selected.json").read_text())["questions"]] == [1, 2, 3, 4]


def test_the_llm_sees_the_classes_and_the_numbered_questions() -> None:
    messages = record_next_reply([1, 2, 3, 4])
    assert messages[0] == "You are a good question maker."
    assert messages[1] == "The classes are Crow and Gull."
    assert QUESTIONS[3].text in messages[2]
    assert messages[3].startswith("Select 4 of the most relevant")
    assert "\n1. Does the bird have a red beak?\n2. Does the bird have a red tail?\n" in messages[3]


def test_with_the_llm_neither_answers_nor_images_are_looked_at() -> None:
    """The bytes are those that the stage wrote before there was another method; no file but the named ones is there."""
    record_next_reply([2, 1, 3, 4])
    run()
    written = json.loads(Path("selected.json").read_text())
    assert list(written) == ["model", "prompt", "questions"]
    assert written["model"] == "tiny"
    assert written["prompt"].startswith("Select 4 of the most relevant")
    assert not Path("manifest.parquet").exists()
    assert not (cache_dir() / "answers").exists()


def test_questions_that_came_with_their_answers_keep_their_order_and_nobody_is_asked() -> None:
    write_questions(QUESTIONS, Path("candidates.json"), model="extract_logits.table", prompt=None)
    run()
    assert Path("selected.json").read_bytes() == Path("candidates.json").read_bytes()


def test_same_inputs_give_the_same_bytes() -> None:
    record_next_reply([3, 1, 4, 2])
    run()
    first = Path("selected.json").read_bytes()
    run()
    assert Path("selected.json").read_bytes() == first


@pytest.mark.parametrize(
    ("ranking", "fault"),
    [
        ([2, 1, 4], "missing: 3"),
        ([1, 2, 3, 4, 4], "repeated: 4"),
        ([0, 1, 2, 3, 4], "not in the list: 0"),
        ([1, 2, 3, 40], "missing: 4; not in the list: 40"),
        ([], "missing: 1, 2, 3, 4"),
    ],
)
def test_a_ranking_that_is_no_permutation_is_asked_again(ranking: list[int], fault: str) -> None:
    record_next_reply(ranking)
    assert fault in record_next_reply([4, 3, 2, 1])[-1]
    run()
    assert read_questions(Path("selected.json")) == QUESTIONS[::-1]


def test_a_ranking_that_stays_incomplete_leaves_no_file() -> None:
    record_next_reply([1])
    with pytest.raises(UserError, match=r"^recordings/\w+\.json: the reply .*missing: 2, 3, 4.*mend it there"):
        run(max_attempts=1)
    assert not Path("selected.json").exists()


def test_the_schema_is_part_of_every_recordings_name_and_never_changes() -> None:
    assert Ranking.model_json_schema() == {
        "title": "Ranking",
        "type": "object",
        "properties": {"ranking": {"title": "Ranking", "type": "array", "items": {"type": "integer"}}},
        "required": ["ranking"],
        "additionalProperties": False,
    }


N_TRAIN = 12


@pytest.fixture
def images() -> pd.DataFrame:
    """Six training images each of two classes, the first of which stands there twice, and a test image each."""
    Path("model").mkdir()
    Path("model/weights").write_bytes(b"abc")
    Path("model/config.json").write_text("{}")
    Path("ask.txt").write_text("$question Yes or No?\n")
    rows = [(f"{k:02d}", f"{k}.png", "test" if k >= N_TRAIN else "train", k % 2, "ab"[k % 2]) for k in range(14)]
    rows.append(("00", "again.png", "train", 0, "a"))
    columns = ["image_id", "path", "split", "label", "class_name"]
    write_manifest(pd.DataFrame(rows, columns=columns), Path("manifest.parquet"))
    return read_manifest(Path("manifest.parquet"))


def store() -> AnswerStore:
    return AnswerStore(cache_dir() / "answers", provenance(params("information").extract_logits, Path("ask.txt")))


def put(answers: pd.DataFrame) -> None:
    """P(yes), a row an image, a column a question, into the store."""
    z_yes = np.log(answers / (1 - answers)).to_numpy(dtype=np.float32)
    store().add(list(answers.index), [Question(text=text).id for text in answers.columns], Answers(z_yes, 0 * z_yes))


def made_up(images: pd.DataFrame) -> pd.DataFrame:
    """About the training images: noise, a copy of what comes next, the class, nothing at all."""
    train = images[images["split"] == "train"].drop_duplicates("image_id").set_index("image_id")
    of_class = 0.05 + 0.9 * train["label"]
    noise = np.random.default_rng(0).uniform(0.2, 0.8, len(train))
    return pd.DataFrame(
        dict(zip([q.text for q in QUESTIONS], [noise, of_class, of_class, 0.5 + 0 * noise], strict=True))
    )


def ranks() -> list[int]:
    return [QUESTIONS.index(question) for question in read_questions(Path("selected.json"))]


def test_information_ranks_by_the_answers_in_the_store_and_asks_nobody(
    images: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = made_up(images)
    put(answers)
    run(method="information")
    train = images[images["split"] == "train"]
    expected = rank_by_information(answers.loc[train["image_id"]].to_numpy(), train["label"].to_numpy())
    assert ranks() == list(expected)
    assert ranks()[0] == 1
    assert ranks()[-1] == 3, "the constant one"
    written = json.loads(Path("selected.json").read_text())
    assert (written["model"], written["prompt"]) == ("information", read_prompt(Path("candidates.json")))
    assert [row["rank"] for row in written["questions"]] == [1, 2, 3, 4]
    assert capsys.readouterr().out == "4 questions ranked by the answers about 13 of 13 training images\n"
    assert not (cache_dir() / "llm").exists()


def test_answers_about_other_splits_do_not_count(images: pd.DataFrame) -> None:
    answers = made_up(images)
    put(answers)
    run(method="information")
    first = Path("selected.json").read_bytes()
    test = images.loc[images["split"] == "test", "image_id"]
    put(pd.DataFrame({text: [0.01, 0.99] for text in answers.columns}, index=list(test)))
    run(method="information")
    assert Path("selected.json").read_bytes() == first


def test_missing_answers_are_counted_and_the_way_out_is_said(images: pd.DataFrame) -> None:
    way_out = r"set n_questions to 4 and select_questions.method to llm, run: dvc repro --force extract_logits, then"
    with pytest.raises(UserError, match=f"all 4 questions .* 12 training images, .* lacks 48 of 48 answers; {way_out}"):
        run(method="information")
    answers = made_up(images)
    put(answers.iloc[:, :3])
    put(answers.iloc[:-1, 3:])
    with pytest.raises(UserError, match=f"all 4 questions .* 12 training images, .* lacks 1 of 48 answers; {way_out}"):
        run(method="information")
    assert not Path("selected.json").exists()


def test_another_prompt_is_another_store(images: pd.DataFrame) -> None:
    put(made_up(images))
    Path("ask.txt").write_text("$question Please.\n")
    with pytest.raises(UserError, match="lacks 48 of 48"):
        run(method="information")


def test_images_that_could_not_be_read_are_left_out(images: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    put(made_up(images).iloc[1:])
    with pytest.raises(UserError, match="lacks 4 of 48"):
        run(method="information")
    store().note_unreadable(["00", "01"])  # 01 could be read another time: its answers are there
    run(method="information")
    assert capsys.readouterr().out == "4 questions ranked by the answers about 11 of 13 training images\n"


def test_only_the_images_that_are_asked_need_answers(images: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    put(made_up(images).loc[["00", "01", "02", "03"]])  # the first two of each class, by id
    run(method="information", images_per_class=2)
    assert "about 5 of 5 training images" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"6 training images, and the store lacks 8 of 24"):
        run(method="information", images_per_class=3)


@pytest.mark.parametrize("prompt", ["p", None])
def test_information_of_given_answers_may_have_gaps(
    images: pd.DataFrame, prompt: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = made_up(images).astype(np.float32)
    answers.iloc[0, :], answers.iloc[1, 0] = np.nan, np.nan
    write_given(answers.iloc[:, ::-1], Path("given.parquet"))
    write_questions(QUESTIONS, Path("candidates.json"), model="extract_logits.table", prompt=prompt)
    run(method="information", backend="table", table="given.csv")
    assert ranks()[0] == 1
    assert ranks()[-1] == 3
    assert read_prompt(Path("selected.json")) == prompt, "by which extract_logits says how to get more questions"
    assert "about 11 of 13 training images" in capsys.readouterr().out


def test_given_answers_by_class_are_those_of_all_its_images(images: pd.DataFrame) -> None:
    by_class = pd.DataFrame({question.text: [0.5, 0.5] for question in QUESTIONS}, index=["a", "b"], dtype=np.float32)
    by_class[QUESTIONS[2].text] = np.array([0.1, 0.8], np.float32)
    write_given(by_class.rename_axis("class_name"), Path("given.parquet"))
    run(method="information", backend="table", table="given.csv")
    assert ranks() == [2, 0, 1, 3]


def test_information_ranks_by_what_the_extraction_has_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through both stages, with one picture that cannot be read; the last question tells dark from bright best."""
    folder = tmp_path / "project"
    make_project(folder, 8)
    (folder / "broken.png").write_bytes(b"no picture")
    rows = read_manifest(folder / "manifest.parquet")
    grey = rows["path"].str[-7:-4].astype(int)
    rows = rows.assign(label=(grey >= 2).astype(int), class_name=np.where(grey >= 2, "b", "a"))
    broken = (image_id(b"no picture"), (folder / "broken.png").as_posix(), "train", 1, "b")
    rows = pd.concat([rows, pd.DataFrame([broken], columns=rows.columns)])
    write_manifest(rows, folder / "manifest.parquet")
    shutil.copy(PARAMS, "params.yaml")
    monkeypatch.setattr(makd.scorer, "Scorer", FakeScorer)  # run_stage does so too, and leaves it there
    monkeypatch.setattr(makd.vlm, "VLM", None)
    run_stage(folder, folder / "manifest.parquet", folder, cache_dir(), seconds_per_image=0)
    capsys.readouterr()
    shutil.copy(folder / "manifest.parquet", "manifest.parquet")
    shutil.copy(folder / "ask.txt", "ask.txt")
    write_questions([Question(text=text) for text in ASKED], Path("candidates.json"), model="m", prompt="p")
    run(method="information", model=str(folder / "model"))
    assert [question.text for question in read_questions(Path("selected.json"))] == ASKED[::-1]
    assert "about 8 of 9 training images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"method: llm ": "method: gain "},
            "select_questions.method: Input should be 'llm' or 'information', got 'gain'",
        ),
        (
            {"method: llm ": "method: information ", "backend: transformers": "backend: class_llm"},
            "select_questions: .*class_llm asks by rank .*give method llm",
        ),
    ],
)
def test_the_method_is_checked_in_the_first_stage(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    text = PARAMS.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "changed.yaml").write_text(text)
    with pytest.raises(UserError, match=said) as raised:
        check_params(tmp_path / "changed.yaml")
    assert "\n" not in str(raised.value)
