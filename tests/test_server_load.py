"""Ten thousand questions, 64 at a time: `benchmarks/server.py`, whose figures are in docs/servers.md."""

import pytest

from benchmarks.server import measure


@pytest.mark.slow
def test_ten_thousand_questions_are_all_answered_in_flat_memory_and_little_time_of_ours() -> None:
    found = measure()
    assert found["requests"] == 10_000
    assert found["memory_growth_mb"] < 20
    assert found["cpu_ms.makd"] <= 1
