import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def signals_of_a_terminal() -> Iterator[None]:
    """Where the tests were started in the background, Ctrl-C is ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache of its own, and does not see what the shell or a DVC run around it has set."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MAKD_CACHE", str(cache))
    for name in ("DVC_ROOT", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return cache
