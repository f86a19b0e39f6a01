"""Params of the extract_logits stage; a module of its own, which imports no model library."""

from pathlib import Path
from typing import Any

from makd.params import read_params
from stages.extract_logits import Params


def extract_params(model: Path, n_questions: int, **changed: Any) -> Params:
    """The stage's params: those of params.yaml, another model, and what is changed of its block."""
    block = read_params()["extract_logits"] | {"model": str(model)} | changed
    return Params.model_validate({"n_questions": n_questions, "extract_logits": block})
