"""Decoded pictures on disk, mapped into memory: every run of a grid of models, seeds and arms reads the same pages.

They lie in pictures/ of the cache, a folder a list of pictures and size, and may be deleted whenever no run is on.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from makd.errors import UserError
from makd.file_lock import held
from makd.files import cache_dir

PIXELS_VERSION = 1  # raise it when a change gives other pixels

AnyArray = npt.NDArray[Any]


class ArrayOf(NamedTuple):
    shape: tuple[int, ...]
    dtype: str


def decoded_once(
    key: Sequence[str | int], arrays: dict[str, ArrayOf], decode: Callable[..., None]
) -> tuple[AnyArray, ...]:
    """The arrays that `decode` fills, filled by the first process that wants them and mapped by all.

    Args:
        key: everything that determines their content.
        arrays: by name, in the order in which `decode` takes them.
        decode: fills the arrays that it is given.

    Returns:
        Arrays backed by files; what is written into them stays in this process.

    Raises:
        UserError: no room on the disk; and what `decode` raises, in which case nothing is kept.
    """
    if not all(np.prod(array.shape) for array in arrays.values()):  # nothing can be mapped
        return tuple(np.empty(*array) for array in arrays.values())
    inputs = json.dumps([PIXELS_VERSION, *key])
    folder = cache_dir() / "pictures" / hashlib.sha256(inputs.encode()).hexdigest()[:32]
    with held(folder.with_suffix(".lock")):
        there = open_arrays(folder, arrays)
        if there is None:
            fill(folder, arrays, decode)
            there = open_arrays(folder, arrays)
    assert there is not None
    return there


def open_arrays(folder: Path, arrays: dict[str, ArrayOf]) -> tuple[AnyArray, ...] | None:
    """None where they are missing or damaged."""
    try:
        # "c": PyTorch wants memory that can be written; what it would write is no part of the file.
        opened = tuple(np.load(folder / f"{name}.npy", mmap_mode="c") for name in arrays)
    except (OSError, ValueError, EOFError):
        return None
    fit = all((got.shape, got.dtype) == array for got, array in zip(opened, arrays.values(), strict=True))
    return opened if fit else None


def fill(folder: Path, arrays: dict[str, ArrayOf], decode: Callable[..., None]) -> None:
    """Whole or not at all: they are filled beside their place."""
    shutil.rmtree(folder, ignore_errors=True)
    for left_by_a_kill in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left_by_a_kill)
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    partial.mkdir(parents=True)
    try:
        decode(*(new_array(partial / f"{name}.npy", array) for name, array in arrays.items()))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def new_array(path: Path, array: ArrayOf) -> AnyArray:
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=array.dtype, shape=array.shape)
    reserve(path)
    return mapped


def reserve(path: Path) -> None:
    """Take the room on the disk now: a mapped file for which there is none kills the process without a word."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise UserError(
                f"no room for {size / 1e9:.2g} GB of decoded pictures in {path.parent.parent} ({error.strerror}); "
                "free some, or let MAKD_CACHE name another folder"
            ) from None
