"""A multimodal LLM answers the questions for every image; what the answer store knows is never asked again.

Reads: data/manifest.parquet, data/questions/selected.json, the prompt, the images.
Writes: data/aspects.parquet (P(yes): a row an image, a column a question), data/answers.parquet (the two logits).
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from makd.errors import UserError, one_line_errors
from makd.files import cache_dir
from makd.params import Block, StageParams
from makd.runtime import Runtime

if TYPE_CHECKING:
    from makd.questions import Question
    from makd.scorer import Scorer


class ExtractLogitsParams(Block):
    """The `extract_logits:` block of params.yaml."""

    backend: Literal["transformers"]
    model: str
    revision: str | None
    dtype: Literal["float32", "bfloat16", "float16"]
    attention: Literal["sdpa", "eager"]
    answers: tuple[str, str]
    processor: dict[str, Any]
    splits: tuple[Literal["train", "val", "test"], ...] = Field(min_length=1)

    @field_validator("splits")
    @classmethod
    def with_train(cls, splits: tuple[str, ...]) -> tuple[str, ...]:
        if "train" not in splits:
            raise ValueError("the training images must be asked: add train")
        return splits


class Params(StageParams):
    """What decides the answers and which of them are wanted."""

    n_questions: int = Field(ge=1)
    extract_logits: ExtractLogitsParams


def extract_logits(
    params: Params, runtime: Runtime, *, manifest: Path, selected: Path, prompt: Path, aspects: Path, answers: Path
) -> None:
    """Write `aspects` and `answers` for the images of the wanted splits and the first `n_questions` questions.

    Raises:
        UserError: fewer questions than wanted, a model that cannot be loaded, a failed self-test.
    """
    from makd.answer_tables import import_answers, write_answers, write_aspects
    from makd.manifest import read_manifest
    from makd.questions import read_questions
    from makd.store import AnswerStore

    block = params.extract_logits
    questions = read_questions(selected)[: params.n_questions]
    if len(questions) < params.n_questions:
        raise UserError(
            f"n_questions is {params.n_questions}, but {selected} has {len(questions)}; "
            "lower it, or raise generate_questions.n_candidates"
        )
    rows = read_manifest(manifest)
    images = rows[rows["split"].isin(block.splits)].drop_duplicates("image_id").set_index("image_id")["path"]
    store = AnswerStore(cache_dir() / "answers", provenance(block, prompt))
    wanted = list(images.index), [question.id for question in questions]
    if store.read(*wanted).missing.any():
        with store.lock():
            imported = import_answers(answers, store)
            to_ask = int(store.read(*wanted).missing.sum())
            total = len(images) * len(questions)
            print(f"{len(images)} images x {len(questions)} questions: {total} answers wanted, {to_ask} to ask", end="")
            print(f" ({imported} imported from {answers})" if imported else "", flush=True)
            if to_ask:
                ask(store, images, questions, block, prompt, runtime)
    else:
        print(f"{len(images)} images x {len(questions)} questions: all answers are in the store, 0 to ask")
    found = store.read(*wanted)
    write_aspects(rows, images.index, questions, found, aspects)
    write_answers(store.key, images.index, questions, found, answers)


def provenance(block: ExtractLogitsParams, prompt: Path) -> dict[str, Any]:
    """Everything that determines a number besides the picture and the question: the key of the store."""
    from makd.scoring_version import SCORING_VERSION
    from makd.weights import weights_id

    return {
        "scoring_version": SCORING_VERSION,
        "weights": weights_id(block.model, block.revision),
        "prompt": prompt.read_text(encoding="utf-8"),
        "answers": list(block.answers),
        "dtype": block.dtype,
        "attention": block.attention,
        "processor": block.processor,
    }


def ask(
    store: Any, images: Any, questions: "list[Question]", block: ExtractLogitsParams, prompt: Path, runtime: Runtime
) -> None:
    import torch

    from makd.devices import choose_device
    from makd.extraction import ask_missing
    from makd.prompts import render
    from makd.scorer import Scorer
    from makd.weights import local_folder

    def make_scorer(asked: "list[Question]") -> "Scorer":
        return Scorer(
            local_folder(block.model) or block.model,
            [render(prompt, question=question.text) for question in asked],
            answers=block.answers,
            revision=block.revision,
            dtype=getattr(torch, block.dtype),
            attention=block.attention,
            device=choose_device(runtime.device),
            processor_kwargs=block.processor,
        )

    report = ask_missing(store, images, questions, make_scorer, runtime)
    print(f"{report.asked} questions asked")
    if report.unreadable:
        print(f"{len(report.unreadable)} images could not be read, their answers stay empty:", file=sys.stderr)
        for path, reason in report.unreadable.items():
            print(f"  {path}: {reason}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.extract_logits", description=__doc__)
    for name in ("manifest", "selected", "prompt", "aspects", "answers"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    extract_logits(Params.load(), Runtime.load(), **vars(parser.parse_args()))


if __name__ == "__main__":
    with one_line_errors():
        main()
