"""An LLM writes N yes/no questions about the aspects of the classes (section 3.1 of the paper).

With the user's own answers (`extract_logits.backend: table`) their questions are the candidates, and no LLM is asked.

Reads: data/manifest.parquet, data/given_answers.parquet, prompts/generate_questions.txt, prompts/system.txt,
    data/recordings.
Writes: data/questions/candidates.json.
"""

import argparse
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from makd.errors import one_line_errors, some
from makd.given_answers import given_questions
from makd.llm import BadReply, LLMParams, Unfinished, ask, open_llm
from makd.manifest import class_names, read_manifest
from makd.params import Block, StageParams
from makd.prompts import render
from makd.questions import Question, write_questions
from makd.recordings import Message, one_line

LIST_MARK = re.compile(r"^\s*(\d+[.):]|[-*•])\s+")
# The first word of a sentence, or of what follows a lead-in ("In the image, is ...", "In this image is ...").
CLAUSE_START = re.compile(r"(?:^|,\s*)(?:(?:in|on|from|at) (?:the|this) \w+ )?(\w+)", re.IGNORECASE)
VERB = re.compile(
    "is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must", re.IGNORECASE
)
QUESTION_WORD = re.compile("what|which|who|whom|whose|why|how", re.IGNORECASE)


class GenerateQuestionsParams(Block):
    n_candidates: int = Field(gt=0)  # N


class Params(StageParams):
    """What this stage reads of params.yaml."""

    llm: LLMParams
    generate_questions: GenerateQuestionsParams


class QuestionList(BaseModel):  # a docstring here would be sent to the LLM, as the description in the schema
    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: list[str]


def generate_questions(
    params: Params,
    *,
    manifest: Path,
    given_answers: Path,
    prompt: Path,
    system: Path,
    recordings: Path,
    candidates: Path,
) -> None:
    """Write exactly N distinct questions, in the order in which the LLM wrote them, or all of the given answers."""
    if given := given_questions(given_answers):
        questions = [Question(text=text) for text in given]
        write_questions(questions, candidates, model="extract_logits.table", prompt=None)
        return
    images = read_manifest(manifest)
    classes = class_names(images)
    n_candidates = params.generate_questions.n_candidates
    text = render(
        prompt,
        n_classes=len(classes),
        n_images=len(images),
        class_list=", ".join(classes),
        n_questions=n_candidates,
    )
    messages = [Message(role="system", content=render(system)), Message(role="user", content=text)]
    llm = open_llm(params.llm, recordings)
    questions = ask(llm, params.llm, messages, QuestionList, Collector(n_candidates).add)
    write_questions(questions, candidates, model=params.llm.model, prompt=text)


class Collector:
    """Gathers good questions over as many replies as it takes: few models write a hundred in one."""

    def __init__(self, n_wanted: int) -> None:
        self.n_wanted = n_wanted
        self.good: dict[str, Question] = {}  # by its words alone, so that a repeat in other dress is seen

    def add(self, reply: QuestionList) -> list[Question]:
        """The first `n_wanted` good questions of all replies so far.

        Raises:
            Unfinished: too few yet, but this reply added some.
            BadReply: this reply added none.
        """
        n_before, refused = len(self.good), []
        for line in reply.questions:
            text = LIST_MARK.sub("", line).strip()
            words = " ".join(re.findall(r"\w+", text.casefold()))
            if problem := "is a repeat" if words in self.good else flaw(text):
                refused.append(f'"{one_line(text, 80)}" {problem}')
            else:
                self.good[words] = Question(text=text)
        n_good = len(self.good)
        if n_good >= self.n_wanted:
            return list(self.good.values())[: self.n_wanted]
        wrong = f"adds {n_good - n_before} good questions, which makes {n_good} of {self.n_wanted}"
        if refused:
            wrong += f"; refused: {some(refused)}"
        raise (Unfinished if n_good > n_before else BadReply)(
            wrong, f"Write {self.n_wanted - n_good} more that differ from all before, as the same JSON object."
        )


def flaw(text: str) -> str | None:
    """Why `text` is not one line with one yes/no question; None if it is."""
    if "\n" in text:
        return "is more than one line"
    if not text.endswith("?") or text.count("?") > 1:
        return "does not end with its one question mark"
    starts = CLAUSE_START.findall(text)
    decisive = next((word for word in starts if VERB.fullmatch(word) or QUESTION_WORD.fullmatch(word)), "")
    if not VERB.fullmatch(decisive):
        return "is not a yes or no question"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.generate_questions", description=__doc__)
    for name in ("manifest", "given-answers", "prompt", "system", "recordings", "candidates"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    paths = vars(parser.parse_args())
    generate_questions(Params.load(), **paths)


if __name__ == "__main__":
    with one_line_errors():
        main()
