"""A whole params file, checked before the first expensive step: every stage's part by that stage's own `Params`."""

import importlib
import sys
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


def warn_of_late_milestones(key: str, milestones: Sequence[int], length: int, unit: str) -> None:
    """Say on stderr that the rate will not fall as planned: allowed, for it makes short trials easy."""
    if late := [milestone for milestone in milestones if milestone >= length]:
        print(f"warning: {key} {late} never come within {length} {unit}; the rate does not fall there", file=sys.stderr)
