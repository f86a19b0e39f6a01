import importlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.trained_project import TrainedProject


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import what is large before a module of makd does: beneath jaxtyping's hook, it would be compiled anew."""
    if session.config.args_source is pytest.Config.ArgsSource.TESTPATHS:  # else the few tests may not need it
        for name in ("timm", "torch._dynamo", "torchvision", "transformers", "sklearn.manifold", "scipy.stats"):
            importlib.import_module(name)


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


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Chromium; where there is none, the tests skip, or fail if MAKD_BROWSER=required."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None and os.environ.get("MAKD_BROWSER") == "required":
        pytest.fail("MAKD_BROWSER=required, and no chromium is on the PATH")
    if chromium is None:
        pytest.skip("no chromium is on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


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


@pytest.fixture(scope="session")
def graphs(trained: "TrainedProject", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as ONNX and .pt2 alone. An ONNX export takes seconds."""
    from makd.export import export

    out = tmp_path_factory.mktemp("graphs") / "out"
    return export(trained.run(), out, aspects=True, formats=("onnx", "pt2"), data=trained.data)
