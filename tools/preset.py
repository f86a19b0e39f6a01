"""Make a file of presets/ the params in use: python -m tools.preset oxford_pets."""

import argparse
import shutil
import subprocess
from pathlib import Path

from makd.errors import UserError, one_line_errors
from makd.params import PARAMS_FILE

FOLDER = Path("presets")


def install(name: str, *, force: bool) -> None:
    """Copy it over params.yaml; edits that are in no commit are lost only with `force`."""
    there = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if name not in there:
        raise UserError(f"there is no preset {name!r}; NAME is one of {', '.join(there)}")
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", str(PARAMS_FILE)], check=False).returncode
    if changed and not force:
        raise UserError(
            f"{PARAMS_FILE} has edits that are in no commit; commit them, or run: python -m tools.preset {name} --force"
        )
    shutil.copyfile(FOLDER / f"{name}.yaml", PARAMS_FILE)
    print(f"{PARAMS_FILE} is that of {FOLDER}/{name}.yaml; next: dvc repro")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.preset", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="a file of presets/ without .yaml")
    parser.add_argument("--force", action="store_true", help="overwrite edits that are in no commit")
    arguments = parser.parse_args()
    install(arguments.name, force=arguments.force)


if __name__ == "__main__":
    with one_line_errors():
        main()
