from pathlib import Path

import pytest

from makd.errors import UserError
from makd.prompts import render

PROMPTS = Path(__file__).parents[1] / "prompts"


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    return tmp_path / "prompt.txt"


def test_variables_are_filled_in_and_one_last_newline_is_stripped(prompt: Path) -> None:
    prompt.write_text("\n$n birds of $class_list cost $$5.\n\n")
    assert render(prompt, n=3, class_list="$n Geese") == "\n3 birds of $n Geese cost $5.\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("$n birds", r"unknown: none, missing: \$class_list"),
        ("$n birds of $class_list on $date", r"unknown: \$date, missing: none"),
        ("$n birds of $class_list cost $ 5", "starts no variable name"),
    ],
)
def test_a_prompt_with_other_variables_is_named(prompt: Path, text: str, complaint: str) -> None:
    prompt.write_text(text)
    with pytest.raises(UserError, match=f"{prompt}.*{complaint}"):
        render(prompt, n=3, class_list="Goose")


def test_a_missing_prompt_is_named(prompt: Path) -> None:
    with pytest.raises(UserError, match=f"{prompt} is missing"):
        render(prompt)


def test_the_prompts_have_the_words_of_the_paper() -> None:
    """To the letter, grammar included: section 3.1 of the paper, and the example of its authors for asking."""
    assert render(PROMPTS / "system.txt") == "You are a good question maker."
    generate = render(
        PROMPTS / "generate_questions.txt", n_classes=2, n_images=9, class_list="Crow, Gull", n_questions=60
    )
    assert generate.split("\n\n")[0] == (
        "The dataset consists of 2 classes and 9 images. The class list is as follows: Crow, Gull, Generate 60 "
        "feature-specific yes or no questions, focusing on clear and distinct aspects of the objects in the images in "
        "the dataset."
    )
    select = render(PROMPTS / "select_questions.txt", n_questions=60, questions="1. Is it red?")
    assert select.split("\n\n")[0] == (
        "Select 60 of the most relevant and distinct questions from the list, focusing on various key features that "
        "distinguish different class in the dataset."
    )
    assert render(PROMPTS / "ask_yes_no.txt", question="Is it red?") == (
        "Is it red? The answer must always be either Yes or No (do not provide any other response)."
    )
