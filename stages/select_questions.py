"""The LLM ranks all candidate questions by importance (section 3.1 of the paper).

Reads: data/questions/candidates.json, prompts/select_questions.txt, prompts/system.txt, data/recordings.
Writes: data/questions/selected.json, all N questions, the best first.

Paper: the LLM selects Q of N; here: "select" all N of them, in order of importance, because figure 2 of the paper ranks
once and then takes the top 10, 20, 30 and 50. So `n_questions` is no param of this stage: a sweep over it cuts the same
list, asks nothing, and its settings are nested. Questions that came with their answers stay in the order of the user.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from makd.errors import one_line_errors
from makd.llm import BadReply, LLMParams, ask, open_llm
from makd.params import StageParams
from makd.prompts import render
from makd.questions import Question, read_prompt, read_questions, write_questions
from makd.recordings import Message


class Params(StageParams):
    """What this stage reads of params.yaml."""

    llm: LLMParams


class Ranking(BaseModel):  # a docstring here would be sent to the LLM, as the description in the schema
    model_config = ConfigDict(frozen=True, extra="forbid")

    ranking: list[int]


def select_questions(
    params: Params, *, candidates: Path, prompt: Path, system: Path, recordings: Path, selected: Path
) -> None:
    """Write the candidates in rank order."""
    questions, asked_for = read_questions(candidates), read_prompt(candidates)
    if asked_for is None:
        write_questions(questions, selected, model="extract_logits.table", prompt=None)
        return
    numbered = "\n".join(f"{number}. {question.text}" for number, question in enumerate(questions, start=1))
    text = render(prompt, n_questions=len(questions), questions=numbered)
    # The conversation that wrote the candidates comes first: only there does the LLM see the classes to distinguish.
    messages = [
        Message(role="system", content=render(system)),
        Message(role="user", content=asked_for),
        Message(role="assistant", content=json.dumps({"questions": [q.text for q in questions]}, ensure_ascii=False)),
        Message(role="user", content=text),
    ]

    def in_rank_order(reply: Ranking) -> list[Question]:
        check_permutation(reply.ranking, len(questions))
        return [questions[number - 1] for number in reply.ranking]

    ranked = ask(open_llm(params.llm, recordings), params.llm, messages, Ranking, in_rank_order)
    write_questions(ranked, selected, model=params.llm.model, prompt=text)


def check_permutation(ranking: list[int], n: int) -> None:
    """Raise `BadReply` unless `ranking` holds each of 1..n once."""
    counts = Counter(ranking)
    faults = {
        "missing": [number for number in range(1, n + 1) if number not in counts],
        "repeated": [number for number, count in counts.items() if count > 1],
        "not in the list": [number for number in counts if not 1 <= number <= n],
    }
    found = "; ".join(f"{fault}: {shortened(numbers)}" for fault, numbers in faults.items() if numbers)
    if found:
        raise BadReply(f"does not rank each number from 1 to {n} once ({found})")


def shortened(numbers: Iterable[int], most: int = 20) -> str:
    words = [str(number) for number in numbers]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if words[most:] else "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.select_questions", description=__doc__)
    for name in ("candidates", "prompt", "system", "recordings", "selected"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    paths = vars(parser.parse_args())
    select_questions(Params.load(), **paths)


if __name__ == "__main__":
    with one_line_errors():
        main()
