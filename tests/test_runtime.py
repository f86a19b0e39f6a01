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
    with pytest.raises(UserError, match="worker: no such param"):
        Runtime.load(tmp_path / "params.yaml")
