"""Looking after the folder of all answer stores: what is there, is it whole, compaction, and what can go."""

import json
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from makd.answer_reader import AnswerReader, block_images
from makd.answers import Answers
from makd.errors import UserError
from makd.file_lock import held
from makd.files import sync_folder
from makd.store import AnswerStore, store_key, wrong_key
from makd.store_parts import Part, Vanished, open_part, parts_of

KEY = re.compile(r"[0-9a-f]{16}")
LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}")
"""What a killed process leaves: the temporary files of makd/files.py, and a store that was being removed."""
OWN_FILES = (
    "provenance.json",
    "audit.json",
    "unreadable.json",
    "speed.json",
    "server.json",
    "lock",
    "turn",
    "in-use",
)
DAY_S = 86_400


@dataclass(frozen=True)
class Contents:
    """What one store holds."""

    parts: int
    images: int
    questions: int
    answers: int
    size_bytes: int
    written: float | None  # seconds since the epoch; None where there is no part


def keys(root: Path) -> list[str]:
    """The names of all stores in `root`."""
    return sorted(folder.name for folder in root.glob("*") if folder.is_dir() and KEY.fullmatch(folder.name))


def read_provenance(folder: Path) -> dict[str, Any]:
    """What a store's key stands for.

    Raises:
        UserError: there is no such file, it cannot be read, or it is that of another key.
    """
    path = folder / "provenance.json"
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: the next extraction with this key writes it anew") from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it: the next extraction with this key writes it"
        ) from None
    if (key := store_key(provenance)) != folder.name:
        raise UserError(wrong_key(path, key))
    return dict(provenance)


def contents(folder: Path) -> Contents:
    """Count what is in a store; an answer that is in several parts counts once.

    Raises:
        UserError: a part is damaged.
    """
    reader = whole_reader(folder)
    parts = [stat for path in parts_of(folder) if (stat := stat_or_none(path))]
    return Contents(
        parts=len(parts),
        images=len(reader.image_ids),
        questions=len(reader.question_ids),
        answers=sum(int((~answers.missing).sum()) for _, answers in reader.blocks()),
        size_bytes=sum(stat.st_size for stat in parts),
        written=max((stat.st_mtime for stat in parts), default=None),
    )


def whole_reader(folder: Path) -> AnswerReader:
    """Of all images and questions that a store knows, in the order of asking."""
    while True:
        image_ids: dict[str, None] = {}
        question_ids: dict[str, None] = {}
        try:
            for path in parts_of(folder):
                with open_part(path) as part:
                    image_ids |= dict.fromkeys(part.image_ids())
                    question_ids |= dict.fromkeys(part.question_ids)
            return AnswerReader(folder, list(image_ids), list(question_ids))
        except Vanished:
            continue  # compacted meanwhile


def problems(root: Path) -> Iterator[str]:
    """Read every file of every store wholly; a line for each that is not as it should be, with what to do about it."""
    for path in sorted(root.glob("*")):
        if KEY.fullmatch(path.name) and path.is_dir():
            yield from store_problems(path)
        elif not LEFTOVER.fullmatch(path.name):
            yield f"{path} is no answer store; move it away"


def store_problems(folder: Path) -> Iterator[str]:
    parts = parts_of(folder)
    if parts or (folder / "provenance.json").exists():
        try:
            read_provenance(folder)
        except UserError as error:
            yield str(error)
    for path in sorted(folder.iterdir()):
        if path in parts:
            yield from part_problems(path)
        elif path.name not in OWN_FILES and not LEFTOVER.fullmatch(path.name):
            yield f"{path} is no file of an answer store; move it away"


def part_problems(path: Path) -> Iterator[str]:
    try:
        with open_part(path) as part:
            what = "; ".join(sorted(set(content_problems(part))))
    except Vanished:  # compacted meanwhile
        return
    except UserError as error:
        yield str(error)
        return
    if what:
        yield f"{path}: {what}; delete it: only its own answers are asked again"


def content_problems(part: Part) -> Iterator[str]:
    image_ids = part.image_ids()
    if None in image_ids:
        yield "an image without id"
    if len(set(image_ids)) < len(image_ids):
        yield "an image twice"
    for group, _ in part.row_groups():
        found = Answers(**part.logits(group))
        if np.isinf(found.z_yes).any() or np.isinf(found.z_no).any():
            yield "infinite logits"
        half = np.isnan(found.z_yes) != np.isnan(found.z_no)
        if found.p_lo is None or found.p_hi is None:
            bad_bounds = np.zeros_like(half)
        else:
            half &= np.isnan(found.p_lo)
            bad_bounds = ~(np.isnan(found.p_lo) | ((found.p_lo >= 0) & (found.p_lo <= found.p_hi) & (found.p_hi <= 1)))
        if half.any():
            yield "answers of which one logit is missing"
        if bad_bounds.any():
            yield "bounds of P(yes) that are none"


def compact(root: Path, key: str) -> tuple[int, int]:
    """Make few large parts of many small ones; returns how many there were and are.

    The new parts are on the disk before the first old one goes: a kill in between leaves answers twice, which no reader
    minds, and the next compaction clears up. Needs as much room again as the parts take.

    Raises:
        UserError: the store is being written, a part is damaged, or provenance.json is not that of the key.
    """
    store = AnswerStore(root, read_provenance(root / key))
    with store.lock(wait=False):
        reader, old = whole_reader(store.folder), store.parts()
        question_ids = list(reader.question_ids)
        if len(old) <= math.ceil(len(reader.image_ids) / block_images(len(question_ids))):
            return len(old), len(old)
        for rows, answers in reader.blocks():
            store.add(list(reader.image_ids[rows]), question_ids, answers)
        new = set(store.parts()) - set(old)
        for path in old:
            path.unlink()
        sync_folder(store.folder)
        return len(old), len(new)


def leftovers(folder: Path) -> list[Path]:
    """What a killed process has left in a folder, or one that is still at work is writing."""
    return sorted(path for path in folder.glob(".*") if LEFTOVER.fullmatch(path.name))


def garbage(root: Path, unwanted: Collection[str]) -> Iterator[tuple[Path, Callable[[], None]]]:
    """What can go, each with the function that removes it: leftovers, and the stores of the unwanted keys.

    The functions raise a UserError if somebody is at work there.
    """
    for path in leftovers(root):
        yield path, partial(shutil.rmtree, path, ignore_errors=True)  # another one may be removing it
    for key in keys(root):
        if key in unwanted:
            yield root / key, partial(remove_store, root / key)
        else:
            for path in leftovers(root / key):
                yield path, partial(remove_leftover, path)


def remove_leftover(path: Path) -> None:
    with held(path.parent / "lock", wait=False):  # else it may be no leftover yet
        path.unlink(missing_ok=True)


def remove_store(folder: Path) -> None:
    gone = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    with held(folder / "lock", wait=False), held(folder / "in-use", wait=False):
        folder.rename(gone)  # first, so that nobody ever sees half a store
    shutil.rmtree(gone)


def unused_days(folder: Path) -> float:
    """Days since a store was last read by an extraction, or written."""
    files = [folder / "in-use", folder / "provenance.json", *parts_of(folder)]
    stats = [stat for path in files if (stat := stat_or_none(path))] or [folder.stat()]
    return (time.time() - max(stat.st_mtime for stat in stats)) / DAY_S


def stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def folder_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    files = [path, *path.rglob("*")]
    return sum(stat.st_size for file in files if file.is_file() and (stat := stat_or_none(file)))
