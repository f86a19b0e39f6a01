"""Which weights a model name stands for: part of the key of every answer."""

import hashlib
from pathlib import Path

from makd.errors import UserError
from makd.files import cache_dir, main_checkout, read_memo, write_json

IGNORED_SUFFIXES = (".md", ".png", ".jpg")
"""Files of a model folder that cannot change a number."""


def local_folder(model: str) -> Path | None:
    """The folder that `model` names, or None for a model of the hub.

    Raises:
        UserError: a file, or a folder that is no model's.
    """
    folder = main_checkout() / model
    if folder.is_file():
        raise UserError(
            f"extract_logits.model: {model} is a file; give the folder that holds config.json and the weights"
        )
    if not folder.is_dir():
        return None
    if not (folder / "config.json").is_file():
        raise UserError(f"extract_logits.model: the folder {folder} has no config.json; give that of a model")
    return folder


def weights_id(model: str, revision: str | None) -> str:
    """A hash of a local folder's content, or name and commit of a hub model: equal ids give equal answers.

    Raises:
        UserError: no such folder, and the hub cannot be asked or does not know the model.
    """
    folder = local_folder(model)
    if folder is not None:
        return folder_hash(folder)
    from transformers import AutoConfig  # the offline default does without this import

    try:
        commit = AutoConfig.from_pretrained(model, revision=revision)._commit_hash
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"extract_logits.model: {model!r} is no folder here, and no hub model that can be had: {reason}"
        ) from None
    return f"{model}@{commit}"


def folder_hash(folder: Path) -> str:
    """Hash of names and contents. Files are remembered by size and time, for weights are large."""
    memo_file = cache_dir() / "weights.json"
    memo: dict[str, str] = read_memo(memo_file, dict)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not is_ignored(path.relative_to(folder)))
    lines = []
    for file in files:
        stat = file.stat()
        memo_key = f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
        if memo_key not in memo:
            with file.open("rb") as content:
                memo[memo_key] = hashlib.file_digest(content, "sha256").hexdigest()
        lines.append(f"{file.relative_to(folder).as_posix()} {memo[memo_key]}")
    write_json(memo, memo_file)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.suffix in IGNORED_SUFFIXES
