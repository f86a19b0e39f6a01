"""A whole params file, checked before the first expensive step: every stage's part by that stage's own `Params`."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from makd.errors import UserError
from makd.params import mending, read_params
from makd.runtime import Runtime


def whole_params(stages: Sequence[str], path: Path) -> dict[str, Any]:
    """The values of `path` by key, typed by the stages that read them.

    The one place where a stage looks at the others: at their `Params`, by name.

    Raises:
        UserError: a bad value, a key that no stage has, more questions in use than are asked for.
    """
    checked: dict[str, Any] = {}
    for stage in stages:
        checked = dict(importlib.import_module(f"stages.{stage}").Params.load(path)) | checked  # `report` has no types
    Runtime.load(path)
    unknown = sorted(set(read_params(path)) - set(checked) - {"runtime"})
    if unknown:
        raise UserError(f"{path}: {', '.join(unknown)}: no such param; {mending(path)}")
    n_questions, n_candidates = checked["n_questions"], checked["generate_questions"].n_candidates
    if n_questions > n_candidates and checked["extract_logits"].backend != "table":  # whose questions are its columns
        raise UserError(
            f"{path}: n_questions is {n_questions}, but generate_questions.n_candidates is {n_candidates}, and "
            f"there are no more to choose from; {mending(path)}"
        )
    return checked
