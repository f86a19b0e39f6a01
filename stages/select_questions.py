"""The LLM ranks all candidate questions by importance (section 3.1 of the paper), or answers rank them.

Reads: data/questions/candidates.json, prompts/select_questions.txt, prompts/system.txt, data/recordings; with
    `select_questions.method: information` instead of prompts and recordings data/manifest.parquet, and the answer store
    (of which prompts/ask_yes_no.txt is a part of the key) or data/given_answers.parquet.
Writes: data/questions/selected.json, all N questions, the best first.

Paper: the LLM selects Q of N; here: "select" all N of them, in order of importance, because figure 2 of the paper ranks
once and then takes the top 10, 20, 30 and 50. So `n_questions` is no param of this stage: a sweep over it cuts the same
list, asks nothing, and its settings are nested. Questions that came with their answers stay in the order of the user.

`information` is not in the paper: what the answers about the training images tell about the class
(makd/question_selection.py). It asks nothing either, so all candidates must have been answered before.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from makd.errors import UserError, one_line_errors, some
from makd.extraction_params import ExtractLogitsParams
from makd.files import cache_dir
from makd.llm import BadReply, LLMParams, ask, open_llm
from makd.params import Block, StageParams
from makd.prompts import render
from makd.questions import Question, read_prompt, read_questions, write_questions
from makd.recordings import Message

if TYPE_CHECKING:
    import pandas as pd


class SelectQuestionsParams(Block):
    method: Literal["llm", "information"]


class Params(StageParams):
    """What this stage reads of params.yaml."""

    llm: LLMParams
    extract_logits: ExtractLogitsParams  # with `information`, whose answers
    select_questions: SelectQuestionsParams

    # The back-end is in `info`, for its block comes before; a ValidationInfo, which beartype cannot check.
    @field_validator("select_questions")
    @classmethod
    def with_answers_that_are_there(cls, block: SelectQuestionsParams, info: Any) -> SelectQuestionsParams:
        answers: ExtractLogitsParams | None = info.data.get("extract_logits")
        if block.method == "information" and answers is not None and answers.backend == "class_llm":
            raise ValueError("extract_logits.backend class_llm asks by rank and fills no store: give method llm")
        return block


class Ranking(BaseModel):  # a docstring here would be sent to the LLM, as the description in the schema
    model_config = ConfigDict(frozen=True, extra="forbid")

    ranking: list[int]


def select_questions(
    params: Params,
    *,
    candidates: Path,
    manifest: Path,
    given_answers: Path,
    prompt: Path,
    system: Path,
    ask_prompt: Path,
    recordings: Path,
    selected: Path,
) -> None:
    """Write the candidates in rank order.

    Raises:
        UserError: the LLM does not rank them; or, with method `information`, not all of them have been answered.
    """
    questions, asked_for = read_questions(candidates), read_prompt(candidates)
    if params.select_questions.method == "information":
        ranked = by_information(params.extract_logits, questions, manifest, given_answers, ask_prompt)
        write_questions(ranked, selected, model="information", prompt=asked_for)
        return
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


def by_information(
    block: ExtractLogitsParams, questions: list[Question], manifest: Path, given_answers: Path, ask_prompt: Path
) -> list[Question]:
    """The candidates ranked by what the answers about the training images tell about the class; asks nothing."""
    from makd.given_answers import read_given
    from makd.manifest import read_manifest
    from makd.question_selection import rank_by_information
    from makd.wanted import asked_images

    images = asked_images(read_manifest(manifest), ["train"], block.images_per_class)
    if block.backend == "table":
        answers = read_given(given_answers, [question.text for question in questions])
    else:
        answers = stored_answers(block, questions, list(images["image_id"].unique()), ask_prompt)
    of_images = answers.reindex(images[answers.index.name])
    known = int(of_images.notna().any(axis=1).sum())
    print(f"{len(questions)} questions ranked by the answers about {known} of {len(images)} training images")
    order = rank_by_information(of_images.to_numpy(), images["label"].to_numpy())
    return [questions[number] for number in order]


def stored_answers(
    block: ExtractLogitsParams, questions: list[Question], image_ids: list[str], ask_prompt: Path
) -> "pd.DataFrame":
    """P(yes), a row an image, a column a question; NaN about images that could not be read.

    Raises:
        UserError: other answers are missing.
    """
    import numpy as np
    import pandas as pd

    from makd.provenance import provenance
    from makd.store import AnswerStore

    store = AnswerStore(cache_dir() / "answers", provenance(block, ask_prompt))
    p_yes = np.empty((len(image_ids), len(questions)), np.float32)
    lacking = np.empty(p_yes.shape, np.bool_)  # not the same as NaN: an answer may be an interval too wide to use
    with store.in_use():
        store.write_provenance()
        for rows, answers in store.reader(image_ids, [question.id for question in questions]).blocks():
            p_yes[rows], lacking[rows] = answers.target(block.server.max_interval), answers.missing
        readable = ~np.isin(image_ids, list(store.unreadable()))
    if missing := int(lacking[readable].sum()):
        raise UserError(
            f"select_questions.method information needs all {len(questions)} questions answered about "
            f"{readable.sum()} training images, and the store lacks {missing} of {p_yes[readable].size} answers; set "
            f"n_questions to {len(questions)} and select_questions.method to llm, run: "
            "dvc repro --force extract_logits, then set both back"
        )
    return pd.DataFrame(p_yes, index=pd.Index(image_ids, name="image_id"), columns=[q.text for q in questions])


def check_permutation(ranking: list[int], n: int) -> None:
    """Raise `BadReply` unless `ranking` holds each of 1..n once."""
    counts = Counter(ranking)
    faults = {
        "missing": [number for number in range(1, n + 1) if number not in counts],
        "repeated": [number for number, count in counts.items() if count > 1],
        "not in the list": [number for number in counts if not 1 <= number <= n],
    }
    found = "; ".join(f"{fault}: {some([*map(str, numbers)], 20)}" for fault, numbers in faults.items() if numbers)
    if found:
        raise BadReply(f"does not rank each number from 1 to {n} once ({found})")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.select_questions", description=__doc__)
    inputs = ("candidates", "manifest", "given-answers", "prompt", "system", "ask-prompt", "recordings")
    for name in (*inputs, "selected"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    paths = vars(parser.parse_args())
    select_questions(Params.load(), **paths)


if __name__ == "__main__":
    with one_line_errors():
        main()
