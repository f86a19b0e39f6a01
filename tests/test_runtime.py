from pathlib import Path

import pytest

from makd.errors import UserError
from makd.runtime import Runtime


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("alpha: 1\nruntime: {workers: 5}\n")
    found = Runtime.load(tmp_path / "params.yaml")
    assert (found.workers, found.device) == (5, "auto")


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("runtime: {worker: 5}\n")
    with pytest.raises(UserError, match=r"runtime\.worker: no such param"):
        Runtime.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "runtime: {device: gpu}",
        "runtime: {workers: true}",
        "runtime: {engine: spark}",
        "runtime: {ray_actors: 0}",
        "runtime: {ray_gpus_per_actor: 0}",
        "runtime: fast",
        "runtime:",
    ],
)
def test_a_bad_value_is_named_with_its_block(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml: runtime(\.\w+)?: "):
        Runtime.load(tmp_path / "params.yaml")


def test_without_a_block_all_have_their_defaults(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("alpha: 1\n")
    assert Runtime.load(tmp_path / "params.yaml") == Runtime()
