"""A text LLM answers each question once a class, from what it knows; no image is read (LaViD's teacher)."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from makd.errors import UserError
from makd.llm import LLM, BadReply, LLMParams, ask, first_token
from makd.progress import with_progress
from makd.prompts import render
from makd.questions import Question
from makd.recordings import Message, NoRecording
from makd.runtime import Runtime

BLOCK = 25
"""Questions that are graded in one request: few enough to be counted rightly."""
T = TypeVar("T")


class Grades(BaseModel):  # a docstring here would be sent to the LLM, as the description in the schema
    model_config = ConfigDict(frozen=True, extra="forbid")

    percent: list[int]


class ClassTeacher:
    """Asks one language model about the classes of one dataset.

    Args:
        llm: the model; it may be asked from several threads.
        params: its name, its temperature, and how often a malformed reply is asked again.
        names: of the classes.
        ranked: the questions, also those that are not in use.
        n_questions: how many of the first are.
        runtime: requests at a time, progress bar.
    """

    def __init__(
        self,
        llm: LLM,
        params: LLMParams,
        names: Sequence[str],
        ranked: Sequence[Question],
        n_questions: int,
        runtime: Runtime,
    ) -> None:
        self.llm, self.params, self.runtime = llm, params, runtime
        self.names, self.n_questions = list(names), n_questions
        self.spoken = [name.replace("_", " ") for name in names]  # the spaces that people write
        self.ranked = [question.text for question in ranked]
        self.texts = self.ranked[:n_questions]
        # Whole blocks of the ranking, so that a few questions more or less are the same requests.
        self.blocks = [self.ranked[start : start + BLOCK] for start in range(0, n_questions, BLOCK)]

    def n_requests(self, how: Literal["graded", "logprobs"]) -> int:
        """What the classes cost, unless replies are kept or malformed."""
        return len(self.names) * len(self.blocks if how == "graded" else self.texts)

    def graded(self, prompt: Path) -> pd.DataFrame:
        """A request a class and block of questions: for how many of 100 images is the answer yes? That is P(yes)."""

        def grade(name: str, block: list[str]) -> list[float]:
            numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(block, start=1))
            text = self.render(prompt, name, n_questions=len(block), questions=numbered)
            messages = [Message(role="user", content=text)]
            return ask(self.llm, self.params, messages, Grades, partial(shares, n=len(block)))

        found = iter(self.together([partial(grade, name, block) for name in self.spoken for block in self.blocks]))
        return self.table([list(chain.from_iterable(islice(found, len(self.blocks)))) for _ in self.names])

    def by_first_token(self, prompt: Path, answers: tuple[str, str]) -> pd.DataFrame:
        """A request a class and question: P(yes) is the share of yes among the first tokens that are yes or no."""

        def share(name: str, question: str) -> list[float]:
            text = self.render(prompt, name, question=question)
            return [yes_share(first_token(self.llm, self.params, [Message(role="user", content=text)]), answers)]

        found = self.together([partial(share, name, text) for name in self.spoken for text in self.texts])
        table = self.table(np.reshape(found, (len(self.names), -1)).tolist())
        if n_lacking := int(table.isna().sum().sum()):
            what = f"{n_lacking} of {table.size} replies begin with neither {answers[0]} nor {answers[1]}"
            if n_lacking == table.size:
                raise UserError(f"{what}; change {prompt}, or set extract_logits.class_answers: graded")
            print(f"warning: {what}: no answer", flush=True)
        return table

    def render(self, prompt: Path, name: str, **variables: object) -> str:
        return render(
            prompt, n_classes=len(self.names), class_list=", ".join(self.spoken), class_name=name, **variables
        )

    def table(self, rows: list[list[float]]) -> pd.DataFrame:
        """Of given answers, as makd/given_answers.py describes them; those to questions not in use are cut off."""
        cut = [row[: self.n_questions] for row in rows]
        return pd.DataFrame(cut, pd.Index(self.names, name="class_name"), self.texts, dtype=np.float32)

    def together(self, tasks: list[Callable[[], T]]) -> list[T]:
        """The results of all tasks, some at a time. Of replies that nobody has recorded, all forms are written."""

        def run(task: Callable[[], T]) -> T | NoRecording:
            try:
                return task()
            except NoRecording as none:
                return none

        # If one fails, or on Ctrl-C, map begins no other; what is under way is waited for, and kept.
        with ThreadPoolExecutor(self.runtime.requests) as pool:
            replies, shown = pool.map(run, tasks), self.runtime.progress
            found = list(with_progress(replies, len(tasks), title="asking", unit="requests", shown=shown))
        if unrecorded := [one for one in found if isinstance(one, NoRecording)]:
            count = f"{len(unrecorded)} of {len(tasks)} requests have no recorded reply; the first: "
            raise UserError((count if len(unrecorded) > 1 else "") + str(unrecorded[0]))
        return [one for one in found if not isinstance(one, NoRecording)]


def shares(reply: Grades, n: int) -> list[float]:
    """The percentages as shares, in [0, 1].

    Raises:
        BadReply: not `n` of them, or one outside 0 to 100.
    """
    if len(reply.percent) != n:
        raise BadReply(f"holds {len(reply.percent)} numbers for {n} questions")
    if outside := [percent for percent in reply.percent if not 0 <= percent <= 100]:
        raise BadReply(f"holds {outside[0]}, which is not between 0 and 100")
    return [percent / 100 for percent in reply.percent]


def yes_share(probabilities: dict[str, float], answers: tuple[str, str]) -> float:
    """P(yes) / (P(yes) + P(no)) over the tokens that are these words, but for case and space; NaN without any."""
    yes, no = (
        sum(p for token, p in probabilities.items() if token.strip().casefold() == word.casefold()) for word in answers
    )
    return yes / (yes + no) if yes + no else np.nan
