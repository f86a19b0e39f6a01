"""Checkpoints: keyed by their inputs, whole or absent, and gone at the end."""

from pathlib import Path
from typing import Any

import pytest
import torch

from makd.checkpoints import Checkpoint, file_hash, run_key


def test_key_depends_on_every_input_and_not_on_their_order() -> None:
    base: dict[str, Any] = {"params": {"alpha": 1.0, "train": {"lr": 0.1}}, "seed": 0}
    keys = {
        run_key(**base),
        run_key(**base | {"seed": 1}),
        run_key(**base | {"params": {"alpha": 2.0, "train": {"lr": 0.1}}}),
        run_key(**base | {"params": {"alpha": 1.0, "train": {"lr": 0.2}}}),
    }
    assert len(keys) == 4
    assert run_key(seed=0, params={"train": {"lr": 0.1}, "alpha": 1.0}) == run_key(**base)


def test_file_hash_is_of_the_bytes(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b") != file_hash(tmp_path / "c")


def test_state_comes_back_bit_for_bit(own_cache: Path) -> None:
    checkpoint = Checkpoint("key")
    assert checkpoint.load() is None
    weights = torch.randn(3)
    state = {"student": {"w": weights}, "optimizer": {"state": {0: torch.randn(3)}}, "history": [{"lr": 0.1}]}
    checkpoint.save(state, now=True)
    loaded = Checkpoint("key").load()
    assert loaded is not None
    assert torch.equal(loaded["student"]["w"], weights)
    assert loaded["history"] == state["history"]
    assert Checkpoint("other key").load() is None
    assert checkpoint.path.is_relative_to(own_cache)


def test_states_that_follow_too_closely_are_skipped_but_not_the_last() -> None:
    checkpoint = Checkpoint("key")
    checkpoint.save({"history": [1]}, now=False)
    assert checkpoint.load() is None
    checkpoint.save({"history": [1, 2]}, now=True)
    checkpoint.save({"history": [1, 2, 3]}, now=False)
    assert checkpoint.load() == {"history": [1, 2]}
    checkpoint.every_s = 0.0
    checkpoint.save({"history": [1, 2, 3]}, now=False)
    assert checkpoint.load() == {"history": [1, 2, 3]}


def test_failed_save_leaves_the_former_state(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint("key")
    checkpoint.save({"history": [1]}, now=True)

    def full_disk(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save({"history": [1, 2]}, now=True)
    assert checkpoint.load() == {"history": [1]}
    assert [file.name for file in checkpoint.path.parent.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("kept", [0, 300, -30])
def test_damaged_state_is_warned_of_in_one_line_and_the_run_starts_afresh(
    kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = Checkpoint("key")
    checkpoint.save({"student": torch.randn(100)}, now=True)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:kept])
    assert checkpoint.load() is None
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: {checkpoint.path} cannot be read (")
    assert warning.endswith("the run starts afresh\n")
    assert warning.count("\n") == 1
    checkpoint.save({"history": [1]}, now=True)
    assert checkpoint.load() == {"history": [1]}


def test_deleted_checkpoint_leaves_nothing() -> None:
    checkpoint = Checkpoint("key")
    checkpoint.delete()
    checkpoint.save({"history": [1]}, now=True)
    checkpoint.path.with_name(".last.pt.killed").touch()
    checkpoint.delete()
    assert checkpoint.load() is None
    assert not checkpoint.path.parent.exists()
