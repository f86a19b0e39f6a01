"""params.yaml, typed: every stage declares the part that it reads."""

import json
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from makd.errors import UserError

PARAMS_FILE = Path("params.yaml")
T = TypeVar("T")
P = TypeVar("P", bound="Block")
S = TypeVar("S", bound="StageParams")


class Block(BaseModel):
    """A block of params.yaml: frozen, unknown keys refused, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def once_each(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError("name each of them once")
    return values


Distinct = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(once_each)]
"""A list of at least one, such as models or seeds: DVC makes one run of two that are equal."""


class StageParams(Block):
    """Base of every stage's `Params`; its fields are the stage's `params:` list in dvc.yaml."""

    @classmethod
    def load(cls: type[S], path: Path = PARAMS_FILE) -> S:
        """Read from `path` the keys that this stage declares, and no other.

        Raises:
            UserError: a line for each bad value: its key, what was expected, what was got.
        """
        values = read_params(path)
        known = {key: value for key, value in values.items() if key in cls.model_fields}
        return validate(cls, known, path, others=values.keys() - known.keys())


def read_params(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The whole file, by the parser that DVC has.

    `-S` rewrites "Yes" without its quotes, which YAML 1.2 reads as a word, and PyYAML, which reads YAML 1.1, as true.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing here ({Path.cwd()}); run this from the project's root") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be UTF-8, but byte {error.start} is not; save it as UTF-8") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must be a mapping of keys to values, got {type(values).__name__}")
    return values


def validate(model: type[P], values: dict[str, Any], path: Path = PARAMS_FILE, others: Collection[str] = ()) -> P:
    """`values` as a `model`, or a `UserError` that names each bad key.

    Strictly: true is no number and 1.0 no seed, for DVC writes them into the paths of the runs. By way of JSON, where
    strictness leaves a list a tuple and a text a path. `others` are further keys of the file, one of which may be a
    missing one, misspelt.
    """
    try:
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise UserError(describe(error, path, others)) from None


def mending(path: Path) -> str:
    """The end of each message about a value in params.yaml; after an experiment, the file is no longer that of git."""
    return f"mend it, or `git checkout HEAD -- {path}` for that of your last commit"


def describe(error: ValidationError, path: Path, others: Collection[str]) -> str:
    """One clause per bad key, such as "alpha: Input should be a valid number, got 'ten'"."""
    problems = error.errors()
    inner = {problem["loc"][:-1] for problem in problems}
    clauses = []
    for problem in problems:
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            clauses.append(f"{key}: no such param")
        elif problem["type"] == "missing":
            alike = get_close_matches(key, sorted(others), 1) if len(problem["loc"]) == 1 else []
            clauses.append(f"{key}: missing" + (f" (is it {alike[0]}, misspelt?)" if alike else ""))
        elif problem["type"] == "value_error" and isinstance(problem["input"], dict):  # of a block: says what was got
            clauses.append(": ".join(filter(None, [key, str(problem["ctx"]["error"])])))
        elif problem["type"] != "too_short" or problem["loc"] not in inner:  # pydantic counts the bad items out
            clauses.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}, got {problem['input']!r}")
    return f"{path}: {'; '.join(clauses)}; {mending(path)}"
