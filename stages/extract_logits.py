"""A multimodal LLM answers the questions for every image; what the answer store knows is never asked again.

Or a text LLM answers them once a class, or the user's own answers are taken (`extract_logits.backend`).

Reads: data/manifest.parquet, data/questions/selected.json, data/given_answers.parquet, data/recordings, the prompts,
    the images.
Writes: data/aspects.parquet (P(yes): a row an image, a column a question), data/answers.parquet (the two logits),
data/zero_shot.parquet (P(yes) of each class, for the splits of zero_shot_splits).
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from makd.errors import UserError, one_line_errors
from makd.extraction_params import SEEING, ExtractLogitsParams
from makd.files import cache_dir
from makd.llm import LLMParams
from makd.params import StageParams
from makd.runtime import Runtime

if TYPE_CHECKING:
    import pandas as pd

    from makd.answer_tables import Tables
    from makd.questions import Question
    from makd.shards import Share
    from makd.store import AnswerStore
    from makd.wanted import Wanted


class Params(StageParams):
    """What decides the answers and which of them are wanted."""

    n_questions: int = Field(ge=1)
    llm: LLMParams
    extract_logits: ExtractLogitsParams


def extract_logits(
    params: Params,
    runtime: Runtime,
    estimate: bool = False,
    share: "Share | None" = None,
    /,
    *,
    manifest: Path,
    selected: Path,
    given_answers: Path,
    prompt: Path,
    zero_shot_prompt: Path,
    class_prompt: Path,
    grade_prompt: Path,
    recordings: Path,
    aspects: Path,
    answers: Path,
    zero_shot: Path,
) -> None:
    """Write `aspects`, `answers` and `zero_shot` for the images of the wanted splits and the first questions.

    With `estimate`, only say what asking would cost: a model is loaded and tried on a few images, and no answer
    of it is kept. With a `share`, ask about the images of this share and write no table.

    Raises:
        UserError: a share of what is not asked by image, fewer questions than wanted, a model that cannot be loaded,
            a failed self-test.
        KeyboardInterrupt: after the shard in flight.
    """
    from makd.answer_tables import Tables, write_given_tables
    from makd.given_answers import read_given
    from makd.manifest import read_manifest
    from makd.wanted import asked_images

    block, out = params.extract_logits, Tables(aspects, answers, zero_shot)
    check_engine(share, block, runtime)
    ranked, rows = ranked_questions(params, selected), read_manifest(manifest)
    questions = ranked[: params.n_questions]
    if block.backend in SEEING:
        about_images(block, runtime, rows, questions, prompt, zero_shot_prompt, out, estimate=estimate, share=share)
        return
    if block.backend == "class_llm":
        prompts = {"graded": grade_prompt, "logprobs": class_prompt}
        given = about_classes(params, runtime, rows, ranked, prompts, recordings, estimate=estimate)
    else:
        given = read_given(given_answers, [question.text for question in questions])
        print(f"{len(questions)} questions: the answers are those of {block.table}, 0 to ask")
    if given is not None and not estimate:
        write_given_tables(rows, asked_images(rows, block.splits, block.images_per_class), given, out)


def check_engine(share: "Share | None", block: ExtractLogitsParams, runtime: Runtime) -> None:
    """Raises a UserError where there is nothing to share out, or somebody else does it."""
    if block.backend == "server" and runtime.engine == "ray":
        raise UserError(
            "runtime.engine ray gives each GPU a model, and extract_logits.backend server has its model elsewhere; "
            "set runtime.engine to local and raise runtime.requests"
        )
    if share is None:
        return
    if block.backend in ("table", "class_llm"):
        raise UserError(
            f"--shard {share}: extract_logits.backend {block.backend} asks about no image; run it without --shard"
        )
    if runtime.engine != "local":
        raise UserError(
            f"--shard {share}: runtime.engine {runtime.engine} shares out the images by itself; "
            "run it without --shard, or set runtime.engine to local"
        )


def ranked_questions(params: Params, selected: Path) -> "list[Question]":
    """All of them, the best first; at least as many as are in use."""
    from makd.questions import read_prompt, read_questions

    questions = read_questions(selected)
    if len(questions) < params.n_questions:
        raised = "raise generate_questions.n_candidates" if read_prompt(selected) else "give a table with more columns"
        raise UserError(
            f"n_questions is {params.n_questions}, but {selected} has {len(questions)}; lower it, or {raised}"
        )
    return questions


def about_images(
    block: ExtractLogitsParams,
    runtime: Runtime,
    rows: "pd.DataFrame",
    questions: "list[Question]",
    prompt: Path,
    zero_shot_prompt: Path,
    out: "Tables",
    *,
    estimate: bool,
    share: "Share | None" = None,
) -> None:
    """A multimodal LLM is asked about each image; all that it ever said is in the store."""
    from makd.answer_tables import import_answers, write_answers, write_p_yes
    from makd.class_scores import class_columns
    from makd.manifest import class_names
    from makd.prompts import render
    from makd.provenance import provenance
    from makd.shards import Share
    from makd.store import AnswerStore
    from makd.wanted import Wanted
    from makd.zero_shot import class_questions

    render(prompt, question="")  # a prompt that has lost its variable is refused before a model is loaded
    names = class_names(rows) if block.zero_shot_splits else []
    about_classes = class_questions(zero_shot_prompt, names)
    chosen = {"splits": block.splits, "zero_shot_splits": block.zero_shot_splits}
    wanted = Wanted.of(rows, questions, about_classes, **chosen, images_per_class=block.images_per_class)
    places = (share or Share()).places
    if share:
        wanted = share.take(wanted, runtime.shard_images)
    size = f"{int(wanted.for_aspects.sum())} images x {len(questions)} questions"
    if block.images_per_class:
        size += f", of the training images {block.images_per_class} a class"
    if about_classes:
        size += f", {int(wanted.for_classes.sum())} x {len(about_classes)} about classes"
    if share:
        size = f"share {share}: {size}"
    store = AnswerStore(cache_dir() / "answers", provenance(block, prompt))
    with store.in_use():
        store.write_provenance()
        if wanted.missing(store).any():
            with store.lock(places):
                imported = import_answers(out.answers, store)
                to_ask = int(wanted.missing(store).sum())
                print(f"{size}: {wanted.pairs.sum()} answers wanted, {to_ask} to ask", end="")
                print(f" ({imported} imported from {out.answers})" if imported else "", flush=True)
                if to_ask:
                    ask(store, wanted, block, prompt, runtime, really=not estimate)
        else:
            print(f"{size}: all answers are in the store, 0 to ask")
        if share and not estimate:
            print(f"share {share} is done; once all are, dvc repro finds their answers and writes the tables")
        if estimate or share:
            return
        of_aspects, of_classes = wanted.readers(store)
        widest = block.server.max_interval
        write_p_yes(rows, [question.text for question in questions], of_aspects, out.aspects, widest)
        asked = rows[rows["split"].isin(block.zero_shot_splits)]
        write_p_yes(asked, class_columns(names), of_classes, out.zero_shot, widest)
        write_answers(store.key, [of_aspects, of_classes], out.answers)


def about_classes(
    params: Params,
    runtime: Runtime,
    rows: "pd.DataFrame",
    ranked: "list[Question]",
    prompts: dict[str, Path],
    recordings: Path,
    *,
    estimate: bool,
) -> "pd.DataFrame | None":
    """A text LLM is asked about each class, and sees no image; its replies are kept as all of a text LLM are."""
    from makd.class_answers import ClassTeacher
    from makd.llm import open_llm
    from makd.manifest import class_names

    block, names = params.extract_logits, class_names(rows)
    llm = open_llm(params.llm, recordings, quiet=True)
    teacher = ClassTeacher(llm, params.llm, names, ranked, params.n_questions, runtime)
    size = f"{len(names)} classes x {params.n_questions} questions"
    print(f"{size}: {teacher.n_requests(block.class_answers)} requests; kept replies cost nothing", flush=True)
    if estimate:
        return None
    prompt = prompts[block.class_answers]
    return teacher.graded(prompt) if block.class_answers == "graded" else teacher.by_first_token(prompt, block.answers)


def ask(
    store: "AnswerStore",
    wanted: "Wanted",
    block: ExtractLogitsParams,
    prompt: Path,
    runtime: Runtime,
    *,
    really: bool,
) -> None:
    """Load the model, or find its server, and ask what the store lacks, or only say what that costs."""
    from makd.answering import Answerers
    from makd.extraction import ask_missing, in_this_process
    from makd.extraction_speed import Speed, keep_speed
    from makd.ray_engine import on_ray

    answerers = Answerers(block, prompt, runtime, store.folder)
    engine = on_ray if runtime.engine == "ray" else in_this_process
    try:
        report = ask_missing(store, wanted, answerers, runtime, engine=engine, really=really)
    finally:
        answerers.close()
    if really:
        print(f"{report.asked} questions asked")
    if really and runtime.engine == "local":  # else the model was never here
        keep_speed(store.folder, Speed(answerers.device, report.images, report.asked, report.seconds))
    if report.unreadable:
        print(f"{len(report.unreadable)} images could not be read, their answers stay empty:", file=sys.stderr)
        for reason in report.unreadable.values():
            print(f"  {reason}", file=sys.stderr)
    answerers.check_complete()


def dvc_arguments() -> list[str]:
    """The arguments that the dvc.yaml of this folder gives, so that `--estimate` needs no other."""
    from ruamel.yaml import YAML

    pipeline = Path("dvc.yaml")
    if not pipeline.is_file():
        raise UserError(f"{pipeline} is missing here ({Path.cwd()}); run this from the folder of the pipeline")
    command = YAML(typ="safe").load(pipeline)["stages"]["extract_logits"]["cmd"]
    words = shlex.split(command)
    return words[words.index("stages.extract_logits") + 1 :]  # what stands before them differs between pipelines


def main() -> None:
    from makd.shards import Share

    parser = argparse.ArgumentParser(prog="python -m stages.extract_logits", description=__doc__)
    inputs = ("manifest", "selected", "given-answers", "recordings")
    prompts = ("prompt", "zero-shot-prompt", "class-prompt", "grade-prompt")
    for name in (*inputs, *prompts, "aspects", "answers", "zero-shot"):
        parser.add_argument(f"--{name}", type=Path, help="that of dvc.yaml where it is not given")
    parser.add_argument("--estimate", action="store_true", help="only say what asking would cost")
    parser.add_argument("--shard", metavar="i/N", help="be process i of N, from 1 to N; docs/scale.md")
    arguments = vars(parser.parse_args([*dvc_arguments(), *sys.argv[1:]]))
    shard = arguments.pop("shard")
    share = None if shard is None else Share.parse(shard)
    extract_logits(Params.load(), Runtime.load(), arguments.pop("estimate"), share, **arguments)


if __name__ == "__main__":
    with one_line_errors():
        main()
