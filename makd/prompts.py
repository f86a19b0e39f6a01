"""Prompt files: text with $variables, one file a use, so that editing one re-runs the stage that reads it."""

from collections.abc import Iterable
from pathlib import Path
from string import Template

from makd.errors import UserError


def render(path: Path, **variables: object) -> str:
    """The text of a prompt file, without its last newline, with `variables` in place of their $names.

    Raises:
        UserError: no such file, or its $names are not exactly those of `variables`: a prompt that has lost its class
            list is as wrong as one that asks for something that nobody fills in.
    """
    try:
        template = Template(path.read_text(encoding="utf-8").removesuffix("\n"))
    except FileNotFoundError:
        raise UserError(f"the prompt file {path} is missing; `git checkout {path}` brings it back") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}; save it as UTF-8") from None
    if not template.is_valid():
        raise UserError(f"{path} has a $ that starts no variable name; write $$ for a dollar sign")
    found = set(template.get_identifiers())
    unknown, missing = found - variables.keys(), variables.keys() - found
    if unknown or missing:
        raise UserError(
            f"{path} must use the variables {names(variables)}; unknown: {names(unknown)}, missing: {names(missing)}"
        )
    return template.substitute(variables)


def names(variables: Iterable[str]) -> str:
    return ", ".join(f"${name}" for name in sorted(variables)) or "none"
