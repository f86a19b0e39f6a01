import json
from pathlib import Path

import pandas as pd
import pytest

from makd.errors import UserError
from makd.files import cache_dir, write_json
from makd.given_answers import no_answers, write_given
from makd.llm import LLMParams
from makd.manifest import write_manifest
from makd.questions import read_prompt, read_questions
from stages.generate_questions import GenerateQuestionsParams, Params, QuestionList, flaw, generate_questions

PROMPTS = Path(__file__).parents[2] / "prompts"
PARTS = ["beak", "tail", "crest", "wing", "eye", "foot", "throat", "back"]


def questions_about(*parts: str) -> list[str]:
    return [f"Does the bird have a red {part}?" for part in parts]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "cache"))
    images = [(f"id{row}", f"images/{row}.png", "train", row % 2, ["Crow", "Gull"][row % 2]) for row in range(6)]
    write_given(no_answers(), Path("given.parquet"))
    write_manifest(
        pd.DataFrame(images, columns=["image_id", "path", "split", "label", "class_name"]), Path("manifest.parquet")
    )


def run(n_candidates: int, max_attempts: int = 2) -> None:
    llm = LLMParams(
        backend="recorded", model="tiny", base_url=None, temperature=0, max_attempts=max_attempts, timeout_s=1
    )
    generate_questions(
        Params(llm=llm, generate_questions=GenerateQuestionsParams(n_candidates=n_candidates)),
        manifest=Path("manifest.parquet"),
        given_answers=Path("given.parquet"),
        prompt=PROMPTS / "generate_questions.txt",
        system=PROMPTS / "system.txt",
        recordings=Path("recordings"),
        candidates=Path("candidates.json"),
    )


def record_next_reply(n_candidates: int, questions: list[str]) -> str:
    """Fill in the request that has no recording yet, as a person would; returns the request's last message."""
    with pytest.raises(UserError, match=r"recordings has no reply|answer what would be asked next"):
        run(n_candidates)
    (blank,) = (cache_dir() / "llm").glob("*.request.json")
    filled_in = json.loads(blank.read_text()) | {"reply": {"questions": questions}, "written_by": "a test"}
    write_json(filled_in, Path("recordings") / blank.name.replace(".request", ""))
    blank.unlink()
    return str(filled_in["request"]["messages"][-1]["content"])


def texts() -> list[str]:
    return [question.text for question in read_questions(Path("candidates.json"))]


def test_exactly_n_questions_are_written_with_the_prompt() -> None:
    asked = record_next_reply(8, questions_about(*PARTS))
    run(8)
    assert texts() == questions_about(*PARTS)
    assert read_prompt(Path("candidates.json")) == asked
    assert asked.startswith("The dataset consists of 2 classes and 6 images. The class list is as follows: Crow, Gull,")


def test_questions_of_given_answers_are_taken_in_their_order_and_nobody_is_asked() -> None:
    given = pd.DataFrame([[0.5, 1.0]], pd.Index(["Crow"], name="class_name"), ["Is it shy?", "aspect_01"])
    write_given(given, Path("given.parquet"))
    run(60)
    assert texts() == ["Is it shy?", "aspect_01"]
    assert read_prompt(Path("candidates.json")) is None


def test_same_inputs_give_the_same_bytes() -> None:
    record_next_reply(8, questions_about(*PARTS))
    run(8)
    first = Path("candidates.json").read_bytes()
    run(8)
    assert Path("candidates.json").read_bytes() == first


def test_more_than_n_are_cut_to_the_first_n() -> None:
    record_next_reply(3, questions_about(*PARTS))
    run(3)
    assert texts() == questions_about(*PARTS[:3])


def test_what_is_missing_is_asked_for_and_the_good_ones_are_kept() -> None:
    record_next_reply(4, questions_about("beak", "tail"))
    asked = record_next_reply(4, questions_about("tail", "crest", "wing"))
    assert "makes 2 of 4" in asked
    assert "Write 2 more" in asked
    run(4)
    assert texts() == questions_about("beak", "tail", "crest", "wing")


def test_a_hundred_questions_may_come_in_many_replies() -> None:
    parts = [f"{part} number {number}" for part in PARTS for number in range(15)]
    for start in range(0, 100, 12):
        record_next_reply(100, questions_about(*parts[start : start + 12]))
    run(100, max_attempts=1)
    assert texts() == questions_about(*parts[:100])


def test_repeats_up_to_case_punctuation_and_space_are_refused() -> None:
    one, *others = (
        "Is the wing-tip dark?",
        "is the Wing tip  dark?",
        "Is the “wing-tip” dark ?",
        "1. Is the wing-tip dark?",
    )
    record_next_reply(2, [one, *others])
    assert record_next_reply(2, others).count("is a repeat") == 3
    with pytest.raises(UserError, match=r"recordings/\w+\.json: the reply adds 0 good questions, which makes 1 of 2"):
        run(2, max_attempts=1)
    record_next_reply(2, questions_about("beak"))
    run(2)
    assert texts() == [one, *questions_about("beak")]


def test_a_flaw_in_a_recorded_reply_is_named_whole_with_its_file() -> None:
    toes = [f"toe number {number}" for number in range(11)]
    record_next_reply(12, [*questions_about(*toes), "What is it?"])
    (recording,) = Path("recordings").iterdir()
    with pytest.raises(UserError) as error:
        run(12)
    assert str(error.value).startswith(
        f"{recording}: the reply adds 11 good questions, which makes 11 of 12; "
        'refused: "What is it?" is not a yes or no question; mend it there, or answer what would be asked next: '
    )


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, r'reply: got null, expected an object like {"questions": \["\.\.\."\]}'),
        (["Is it red?"], r'reply: got \["Is it red\?"\], expected an object like {"questions": \["\.\.\."\]}'),
        (
            {"question": ["Is it red?"]},
            r"the reply does not fit the schema \(questions: Field required\); mend it there",
        ),
        ('["Is it red?"]', r'the reply is no JSON object like {"questions": \["\.\.\."\]}; mend it there'),
    ],
)
def test_a_recorded_reply_of_another_shape_is_named_with_the_right_one(reply: object, said: str) -> None:
    record_next_reply(2, [])
    (recording,) = Path("recordings").iterdir()
    write_json(json.loads(recording.read_text()) | {"reply": reply}, recording)
    with pytest.raises(UserError, match=f"^{recording}.*{said}") as error:
        run(2)
    assert "Input should be" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_request_that_differs_in_numbers_alone_names_the_recording() -> None:
    record_next_reply(8, questions_about(*PARTS))
    (recording,) = Path("recordings").iterdir()
    with pytest.raises(UserError, match=rf"{recording} differs in numbers alone \(8 feature, here 9 feature; 8 diff"):
        run(9)


def test_questions_that_stay_bad_end_with_one_line_and_leave_no_file() -> None:
    record_next_reply(2, ["What colour is it?", "Is it red or\n  is it blue?"])
    with pytest.raises(UserError) as error:
        run(2, max_attempts=1)
    assert '"What colour is it?" is not a yes or no question' in str(error.value)
    assert '"Is it red or is it blue?" is more than one line' in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("candidates.json").exists()


def test_numbers_and_space_around_a_question_are_stripped() -> None:
    record_next_reply(3, [" 1. Is it red? ", "2) Is it blue?", "- Is it 3. in line?"])
    run(3)
    assert texts() == ["Is it red?", "Is it blue?", "Is it 3. in line?"]


@pytest.mark.parametrize(
    "text",
    [
        "Does the bird have a crest?",
        "IS it red?",
        "Can the bird swim, or does it only wade?",
        "In the image, is the bird flying?",
        "In this photo is there any water?",
        "When seen from the side, are its legs, which are long, red?",
        "Could the bird be mistaken for a gull?",
    ],
)
def test_yes_or_no_questions_are_accepted(text: str) -> None:
    assert flaw(text) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "question mark"),
        ("Does the bird have a crest", "question mark"),
        ("Is it red? Or is it blue?", "question mark"),
        ("Is it red or\nis it blue?", "one line"),
        ("What colour is the bird?", "yes or no"),
        ("In the image, what is the bird doing, is it flying?", "yes or no"),
        ("The bird has a crest?", "yes or no"),
        ("Island bird?", "yes or no"),
        ("?", "yes or no"),
    ],
)
def test_other_texts_are_refused_with_the_reason(text: str, complaint: str) -> None:
    assert complaint in (flaw(text) or "accepted")


def test_the_schema_is_part_of_every_recordings_name_and_never_changes() -> None:
    assert QuestionList.model_json_schema() == {
        "title": "QuestionList",
        "type": "object",
        "properties": {"questions": {"title": "Questions", "type": "array", "items": {"type": "string"}}},
        "required": ["questions"],
        "additionalProperties": False,
    }
