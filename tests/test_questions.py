from pathlib import Path

from makd.questions import Question, question_id, read_prompt, read_questions, write_questions

QUESTIONS = [Question(text="Is the bird crème-coloured?"), Question(text="Does the bird have a crest?")]


def test_the_id_of_a_question_is_the_hash_of_its_text() -> None:
    assert Question(text="Does the bird have a crest?").id == question_id("Does the bird have a crest?")
    assert question_id("Does the bird have a crest?") == "0a5a718e8e93e141"
    assert question_id("Does the bird have a crest ?") != question_id("Does the bird have a crest?")


def test_questions_and_prompt_survive_a_file_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    write_questions(QUESTIONS, path, model="tiny", prompt="Write two.")
    assert read_questions(path) == QUESTIONS
    assert read_prompt(path) == "Write two."


def test_equal_questions_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_questions(QUESTIONS, tmp_path / name, model="tiny", prompt="Write two.")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "crème" in (tmp_path / "a").read_text(encoding="utf-8")
