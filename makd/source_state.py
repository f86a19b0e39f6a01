"""Which source a report was made by: git's commit, and the versions of what computes."""

import subprocess
from importlib.metadata import PackageNotFoundError, version

SOURCE = ("makd", "stages", "prompts", "dvc.yaml", "requirements.lock")
PACKAGES = ("torch", "torchvision", "timm", "transformers", "dvc", "scikit-learn", "numpy")


def source_commit() -> str:
    """The last commit that changed the source, and whether it has changed since.

    Not HEAD: the commit that keeps a report would change the report.
    """
    found = git("log", "-1", "--abbrev=12", "--format=%h (%cs)", "--", *SOURCE)
    if not found:
        return "unknown: git tells none here"
    return f"{found}, with changes since" if git("status", "--porcelain", "--", *SOURCE) else found


def git(*words: str) -> str:
    """Its output; nothing where there is no git, no repository, or one of another user, which git refuses to read."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
