"""Yes/no questions about the aspects of a dataset's classes, and the files that hold them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from makd.errors import UserError
from makd.files import write_json


class Question(BaseModel):
    """A yes/no question. Its id is the hash of its text, so the same words are never asked twice."""

    model_config = ConfigDict(frozen=True)

    text: str

    @property
    def id(self) -> str:
        return question_id(self.text)


def question_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_questions(questions: list[Question], path: Path, *, model: str, prompt: str | None) -> None:
    """Write `questions` in their order (for selected.json: best first), with the model and the prompt behind them.

    Without a prompt they are not a model's but came with their answers, and their order is that of the user. The model
    "information" has written none: it stands for the method of `select_questions` that gave them their order.
    """
    rows: list[dict[str, Any]] = [
        {"rank": rank, "id": question.id, "text": question.text} for rank, question in enumerate(questions, start=1)
    ]
    write_json({"model": model, "prompt": prompt, "questions": rows}, path)


def read_questions(path: Path) -> list[Question]:
    """The questions of a candidates or selected file, in the file's order."""
    return [Question(text=row["text"]) for row in read_file(path)["questions"]]


def read_prompt(path: Path) -> str | None:
    """The prompt behind the questions of a candidates or selected file; None for those that came with their answers."""
    prompt: str | None = read_file(path)["prompt"]
    return prompt


def read_file(path: Path) -> dict[str, Any]:
    """What `write_questions` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}; run: dvc repro select_questions") from None
    return found
