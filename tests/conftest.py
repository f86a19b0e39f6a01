import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.trained_project import TrainedProject


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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> "TrainedProject":
    """Trained once for all tests of what ships; they leave it as it is."""
    from tests.trained_project import train_students

    return train_students(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def shipped(trained: "TrainedProject", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its makd student, exported with aspects."""
    from makd.export import export

    return export(trained.run(), tmp_path_factory.mktemp("shipped") / "out", aspects=True, data=trained.data)
