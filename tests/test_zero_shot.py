from pathlib import Path

from makd.zero_shot import class_questions


def test_a_class_is_asked_by_the_words_that_people_write(tmp_path: Path) -> None:
    prompt = tmp_path / "zero_shot.txt"
    prompt.write_text("Is this a $class_name?\n")
    texts = [question.text for question in class_questions(prompt, ["pink_primrose", "Lake Jay"])]
    assert texts == ["Is this a pink primrose?", "Is this a Lake Jay?"]
