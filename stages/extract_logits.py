"""A multimodal LLM answers the questions for every image; what the answer store knows is never asked again.

Where the user brings answers along, those are the answers, and no model is loaded.

Reads: data/manifest.parquet, data/own_answers.parquet, data/questions/selected.json, the prompt, the images.
Writes: data/aspects.parquet (P(yes): a row an image, a column a question), data/answers.parquet (the two logits),
data/zero_shot.parquet (P(yes) of each class, for the splits of zero_shot_splits).
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from makd.errors import UserError, one_line_errors
from makd.files import cache_dir
from makd.params import Block, StageParams
from makd.runtime import Runtime

if TYPE_CHECKING:
    from makd.questions import Question
    from makd.store import AnswerStore
    from makd.wanted import Wanted


class ExtractLogitsParams(Block):
    """The `extract_logits:` block of params.yaml."""

    backend: Literal["transformers"]
    model: str
    revision: str | None
    dtype: Literal["float32", "bfloat16", "float16"]
    quantization: Literal["8bit", "4bit"] | None
    attention: Literal["sdpa", "eager"]
    shared_prefix: bool
    answers: tuple[str, str]
    processor: dict[str, Any]
    splits: tuple[Literal["train", "val", "test"], ...] = Field(min_length=1)
    zero_shot_splits: tuple[Literal["train", "val", "test"], ...]
    images_per_class: int | None = Field(ge=1)

    @field_validator("answers")
    @classmethod
    def distinct(cls, answers: tuple[str, str]) -> tuple[str, str]:
        if not all(answers) or answers[0] == answers[1]:
            raise ValueError("expected two different words, yes first")
        return answers

    @model_validator(mode="after")
    def in_16_bits(self) -> "ExtractLogitsParams":
        if self.quantization and self.dtype == "float32":  # packed and alone would differ by more than float32 may
            raise ValueError(f"quantization {self.quantization} needs a 16-bit dtype: bfloat16 or float16")
        return self

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
    params: Params,
    runtime: Runtime,
    estimate: bool = False,
    /,
    *,
    manifest: Path,
    selected: Path,
    own_answers: Path | None = None,
    prompt: Path,
    zero_shot_prompt: Path,
    aspects: Path,
    answers: Path,
    zero_shot: Path,
) -> None:
    """Write `aspects`, `answers` and `zero_shot` for the images of the wanted splits and the first questions.

    With `estimate`, only say what asking would cost: the model is loaded and tried on a few images, nothing is kept.

    Raises:
        UserError: fewer questions than wanted, a model that cannot be loaded, a failed self-test.
        KeyboardInterrupt: after the shard in flight.
    """
    from makd.answer_tables import import_answers, write_answers, write_given, write_p_yes
    from makd.class_scores import class_columns
    from makd.manifest import class_names, read_manifest
    from makd.own_answers import own_questions
    from makd.questions import read_questions
    from makd.store import AnswerStore
    from makd.wanted import Wanted
    from makd.zero_shot import class_questions

    block = params.extract_logits
    questions = read_questions(selected)[: params.n_questions]
    if len(questions) < params.n_questions:
        raise UserError(
            f"n_questions is {params.n_questions}, but {selected} has {len(questions)}; "
            "lower it, or raise generate_questions.n_candidates"
        )
    rows = read_manifest(manifest)
    if own_questions(own_answers):
        assert own_answers is not None
        print(f"{len(rows)} images x {len(questions)} questions: own answers, 0 to ask")
        if not estimate:
            texts = [question.text for question in questions]
            write_given(rows, texts, own_answers, aspects=aspects, answers=answers, zero_shot=zero_shot)
        return
    names = class_names(rows) if block.zero_shot_splits else []
    about_classes = class_questions(zero_shot_prompt, names)
    wanted = Wanted.of(
        rows,
        questions,
        about_classes,
        splits=block.splits,
        zero_shot_splits=block.zero_shot_splits,
        images_per_class=block.images_per_class,
    )
    size = f"{int(wanted.for_aspects.sum())} images x {len(questions)} questions"
    if about_classes:
        size += f", {int(wanted.for_classes.sum())} x {len(about_classes)} about classes"
    store = AnswerStore(cache_dir() / "answers", provenance(block, prompt))
    with store.in_use():
        if wanted.missing(store).any():
            with store.lock():
                imported = import_answers(answers, store)
                to_ask = int(wanted.missing(store).sum())
                print(f"{size}: {wanted.pairs.sum()} answers wanted, {to_ask} to ask", end="")
                print(f" ({imported} imported from {answers})" if imported else "", flush=True)
                if to_ask:
                    ask(store, wanted, block, prompt, runtime, really=not estimate)
        else:
            print(f"{size}: all answers are in the store, 0 to ask")
        if estimate:
            return
        of_aspects, of_classes = wanted.readers(store)
        write_p_yes(rows, [question.text for question in questions], of_aspects, aspects)
        asked = rows[rows["split"].isin(block.zero_shot_splits)]
        write_p_yes(asked, class_columns(names), of_classes, zero_shot)
        write_answers(store.key, [of_aspects, of_classes], answers)


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
        "quantization": block.quantization,
        "attention": block.attention,
        "shared_prefix": block.shared_prefix,
        "processor": block.processor,
    }


def ask(
    store: "AnswerStore",
    wanted: "Wanted",
    block: ExtractLogitsParams,
    prompt: Path,
    runtime: Runtime,
    *,
    really: bool,
) -> None:
    """Load the model and ask what the store lacks, or only say what that costs."""
    import torch

    from makd.devices import choose_device
    from makd.extraction import ask_missing
    from makd.prompts import render
    from makd.scorer import Scorer
    from makd.vlm import VLM
    from makd.weights import local_folder

    vlm = VLM(
        local_folder(block.model) or block.model,
        revision=block.revision,
        dtype=getattr(torch, block.dtype),
        attention=block.attention,
        device=choose_device(runtime.device),
        device_map=runtime.device_map,
        quantization=block.quantization,
        processor_kwargs=block.processor,
    )

    def make_scorer(asked: "list[Question]") -> Scorer:
        messages = [render(prompt, question=question.text) for question in asked]
        return Scorer(vlm, messages, block.answers, share=block.shared_prefix)

    report = ask_missing(store, wanted, make_scorer, runtime, really=really)
    if really:
        print(f"{report.asked} questions asked")
    if report.unreadable:
        print(f"{len(report.unreadable)} images could not be read, their answers stay empty:", file=sys.stderr)
        for reason in report.unreadable.values():
            print(f"  {reason}", file=sys.stderr)


def dvc_arguments() -> list[str]:
    """The arguments that dvc.yaml gives, so that `--estimate` needs no other."""
    from ruamel.yaml import YAML

    command = YAML(typ="safe").load(Path("dvc.yaml"))["stages"]["extract_logits"]["cmd"]
    return shlex.split(command)[3:]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.extract_logits", description=__doc__)
    for name in (
        "manifest",
        "selected",
        "own-answers",
        "prompt",
        "zero-shot-prompt",
        "aspects",
        "answers",
        "zero-shot",
    ):
        parser.add_argument(f"--{name}", type=Path, help="that of dvc.yaml where it is not given")
    parser.add_argument("--estimate", action="store_true", help="only say what asking would cost")
    arguments = vars(parser.parse_args([*dvc_arguments(), *sys.argv[1:]]))
    extract_logits(Params.load(), Runtime.load(), arguments.pop("estimate"), **arguments)


if __name__ == "__main__":
    with one_line_errors():
        main()
