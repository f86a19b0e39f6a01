import json
from pathlib import Path

import pytest

from makd.errors import UserError
from makd.files import cache_dir, write_json
from makd.llm import LLMParams
from makd.questions import Question, read_questions, write_questions
from stages.select_questions import Params, Ranking, select_questions

PROMPTS = Path(__file__).parents[2] / "prompts"
QUESTIONS = [Question(text=f"Does the bird have a red {part}?") for part in ("beak", "tail", "crest", "wing")]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "cache"))
    write_questions(QUESTIONS, Path("candidates.json"), model="tiny", prompt="The classes are Crow and Gull.")


def run(max_attempts: int = 2) -> None:
    llm = LLMParams(
        backend="recorded", model="tiny", base_url=None, temperature=0, max_attempts=max_attempts, timeout_s=1
    )
    select_questions(
        Params(llm=llm),
        candidates=Path("candidates.json"),
        prompt=PROMPTS / "select_questions.txt",
        system=PROMPTS / "system.txt",
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
