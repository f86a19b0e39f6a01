"""Which files are meant by what a user types: pictures, folders of them, and patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from makd.datasets import is_image
from makd.errors import UserError

PATTERN = frozenset("*?[")


def image_files(sources: Sequence[Path | str]) -> list[Path]:
    """The files, in the order of the sources and, within one, of their names; each once.

    A file that is named counts whatever it is called; in a folder and all below it, and where a pattern fits, what is
    named like an image (makd.datasets.EXTENSIONS). `**` in a pattern stands for folders at any depth.

    Raises:
        UserError: a source that is not there, or none with an image in it.
    """
    files = dict.fromkeys(file for source in sources for file in files_of(str(source)))
    if not files:
        raise UserError(f"no image in {', '.join(map(str, sources)) or 'nothing'}; give pictures, folders or patterns")
    return list(files)


def files_of(source: str) -> Iterator[Path]:
    path = Path(source)
    if not source:
        raise UserError("a source is empty, such as an unset variable of the shell; give pictures, folders or patterns")
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # such as a name that is too long
        raise UserError(f"{source} cannot be opened: {error.strerror}") from None
    if is_folder:
        yield from images_below(path)
    elif is_there:
        yield path
    elif PATTERN & set(source):
        found = map(Path, sorted(glob.glob(source, recursive=True)))
        yield from (file for file in found if file.is_file() and is_image(file.name))
    else:
        raise UserError(f"{source} is not there; give pictures, folders or patterns such as 'photos/*.jpg'")


def images_below(folder: Path) -> Iterator[Path]:
    for place, subfolders, names in os.walk(folder):
        subfolders.sort()
        files = (Path(place) / name for name in sorted(names) if is_image(name))
        yield from (file for file in files if not file.is_fifo())  # which would be waited for
