"""Prompts and answer tokens, on a processor of a few characters."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from makd.conversation import Conversation
from makd.errors import UserError
from tests.tiny_models import save_tiny_internvl


class Tokenizer:
    """A token a character; a last word is one token, whose id depends on the character before it."""

    unk_token_id = 999
    bos_token = None

    def __init__(self, words: dict[str, int]) -> None:
        self.words = words

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        for end, token in self.words.items():
            if text.endswith(end):
                return {"input_ids": [*map(ord, text[: len(text) - len(end) + 1]), token]}
        return {"input_ids": [ord(character) for character in text]}


class Processor:
    chat_template = "something"

    def __init__(self, words: dict[str, int]) -> None:
        self.tokenizer = Tokenizer(words)

    def apply_chat_template(self, turns: Sequence[Any], **_: Any) -> str:
        return "<image>" + str(turns[0]["content"][1]["text"])


PLAIN = {"?Yes": 901, "?No": 902, ".Yes": 901, ".No": 902}


def test_an_answer_is_one_token_behind_every_prompt() -> None:
    assert Conversation(Processor(PLAIN), ["Is it?", "Say."], ("Yes", "No")).answer_ids == (901, 902)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (PLAIN | {".Yes": 903}, r"'Yes' has no token of its own: ids \[901, 903\]"),
        (PLAIN | {"?No": 999, ".No": 999}, r"'No' has no token of its own: ids \[999\]"),
    ],
    ids=["another behind the second prompt", "unknown"],
)
def test_an_answer_without_a_token_of_its_own_is_refused(words: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Conversation(Processor(words), ["Is it?", "Say."], ("Yes", "No"))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m['role'] }}: <image>{% endfor %}", "leaves out the question 'Is it?'"),
        ("{{ messages[0]", "cannot be rendered"),
        ("{{ raise_exception('no') }}", "cannot be rendered: no"),
    ],
    ids=["blind", "broken", "unwilling"],
)
def test_a_chat_template_without_the_question_is_refused(
    template: str, said: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(save_tiny_internvl(tmp_path_factory.mktemp("internvl")))
    processor.chat_template = template
    with pytest.raises(UserError, match=re.escape(said)):
        Conversation(processor, ["Is it?"], ("Yes", "No"))
