"""Look after the answer store, also as `python -m makd.store`.

    makd answers ls                 what is in it, by key
    makd answers verify             read all of it; exit code 1 if a file is bad
    makd answers compact [KEY ...]  many small parts become few large ones
    makd answers gc                 what killed processes left; with --keep or --unused-for whole keys

The store is $MAKD_CACHE/answers, or .cache/answers.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from makd.errors import UserError, one_line_errors
from makd.files import cache_dir
from makd.store_upkeep import compact, contents, folder_bytes, garbage, keys, problems, read_provenance, unused_days

COLUMNS = ("key", "parts", "images", "questions", "answers", "size", "model", "dtype", "last write", "prompt")
NUMBERS = slice(1, 6)
"""The columns that are set to the right."""


def list_stores(root: Path) -> None:
    """Print a line a store."""
    rows = [COLUMNS, *(row_of(root / key) for key in keys(root))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        cells[NUMBERS] = [text.rjust(width) for text, width in zip(row[NUMBERS], widths[NUMBERS], strict=True)]
        print("  ".join(cells).rstrip())


def row_of(folder: Path) -> tuple[str, ...]:
    try:
        provenance = read_provenance(folder)
        found = contents(folder)
    except UserError as error:
        print(f"{error}; see: makd answers verify", file=sys.stderr)
        return (folder.name, *["?"] * 4, size_of(folder_bytes(folder)), *["?"] * 4)
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.written)) if found.written else "never"
    counts = (found.parts, found.images, found.questions, found.answers)
    return (
        folder.name,
        *(f"{count:,}" for count in counts),
        size_of(found.size_bytes),
        model_of(provenance),
        str(provenance.get("dtype", "?")),
        written,
        shortened(repr(provenance.get("prompt", "?"))),
    )


def model_of(provenance: dict[str, Any]) -> str:
    """Name and commit of a hub model; of a local one the hash of its weights, cut short."""
    name, _, commit = str(provenance.get("weights", "?")).partition("@")
    return f"{name}@{commit[:12]}" if commit else name[:12]


def shortened(text: str, at_most: int = 50) -> str:
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…"


def size_of(n_bytes: int) -> str:
    size: float = n_bytes
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def verify(root: Path) -> None:
    """Print a line a bad file, and end with exit code 1 if there is any."""
    n_problems = 0
    for problem in problems(root):
        n_problems += 1
        print(problem, flush=True)
    print(f"stores: {len(keys(root))}, problems: {n_problems or 'none'}")
    if n_problems:
        sys.exit(1)


def compact_all(root: Path, chosen: list[str]) -> None:
    """Compact the stores that are named, or all; one that cannot be compacted is named and left as it is."""
    failed = False
    for key in known(root, chosen) or keys(root):
        try:
            before, after = compact(root, key)
        except UserError as error:
            print(error, file=sys.stderr)
            failed = True
        else:
            print(f"{key}: {before} parts, now {after}", flush=True)
    if failed:
        sys.exit(1)


def collect_garbage(root: Path, keep: list[str] | None, unused_for: float | None, *, really: bool) -> None:
    """Remove what nobody needs, or only say what that is.

    Args:
        root: the folder of all stores.
        keep: keys that stay.
        unused_for: days; only keys that were last used longer ago go. With neither of both every key stays.
        really: remove it.
    """
    unwanted = set() if keep is None and unused_for is None else set(keys(root)) - set(known(root, keep or []))
    if unused_for is not None:
        unwanted = {key for key in unwanted if unused_days(root / key) > unused_for}
    total = 0
    for path, remove in garbage(root, unwanted):
        size = folder_bytes(path)
        if really:
            try:
                remove()
            except UserError as error:
                print(f"left alone: {error}")
                continue
        print(f"{'removed' if really else 'would remove'} {path} ({size_of(size)})", flush=True)
        total += size
    print(f"{size_of(total)} in all" + ("" if really or not total else "; add --yes to remove it"))


def known(root: Path, chosen: list[str]) -> list[str]:
    """The chosen keys, if there are such.

    Raises:
        UserError: there is no such key.
    """
    for key in chosen:
        if key not in keys(root):
            raise UserError(f"{root} has no store {key}; makd answers ls shows the keys")
    return chosen


def days(text: str) -> float:
    if not 0 <= (value := float(text)) < float("inf"):
        raise ValueError
    return value


def answers(words: Sequence[str] | None = None, *, prog: str = "python -m makd.store") -> None:
    """Do what the words say, such as ["ls"]; None: those of the command line.

    Raises:
        UserError: a store that is not there, or that another process uses.
        SystemExit: with code 1 where a file is bad, with 2 where the words make no sense.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="a line a key: parts, images, questions, answers, size, model, prompt, last write")
    commands.add_parser("verify", help="read every file wholly and name the bad ones; exit code 1 if there are any")
    compaction = commands.add_parser("compact", help="make few large parts of many small ones")
    compaction.add_argument("keys", nargs="*", metavar="KEY", help="all, where none is named")
    gc = commands.add_parser("gc", help="remove what killed processes left, and the keys that are not needed any more")
    gc.add_argument("--keep", nargs="+", metavar="KEY", help="remove all other keys")
    gc.add_argument("--unused-for", type=days, metavar="DAYS", help="remove keys that no run has used for so long")
    gc.add_argument("--yes", action="store_true", help="do it; else it is only said what would be removed")
    arguments = parser.parse_args(words)
    root = cache_dir() / "answers"
    match arguments.command:
        case "ls":
            list_stores(root)
        case "verify":
            verify(root)
        case "compact":
            compact_all(root, arguments.keys)
        case "gc":
            collect_garbage(root, arguments.keep, arguments.unused_for, really=arguments.yes)


if __name__ == "__main__":
    with one_line_errors():
        answers()
