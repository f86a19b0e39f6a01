"""Params and paths of the extract_logits stage; a module of its own, which imports no model library."""

from pathlib import Path
from typing import Any

from makd.params import read_params
from stages.extract_logits import Params


def extract_params(model: Path, n_questions: int, **changed: Any) -> Params:
    """The stage's params: those of params.yaml, another model, and what is changed of its block."""
    block = read_params()["extract_logits"] | {"model": str(model)} | changed
    return Params.model_validate({"n_questions": n_questions, "llm": read_params()["llm"], "extract_logits": block})


def extract_paths(folder: Path, out: Path) -> dict[str, Path]:
    """The stage's paths by argument: inputs in `folder`, outputs in `out`."""
    inputs = {"manifest": "manifest.parquet", "selected": "selected.json", "given_answers": "given.parquet"}
    inputs |= {"prompt": "ask.txt", "zero_shot_prompt": "zero_shot.txt", "recordings": "recordings"}
    inputs |= {"class_prompt": "ask_about_class.txt", "grade_prompt": "grade_class.txt"}
    outputs = {name: f"{name}.parquet" for name in ("aspects", "answers", "zero_shot")}
    return {key: folder / file for key, file in inputs.items()} | {key: out / file for key, file in outputs.items()}
