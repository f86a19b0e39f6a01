"""`makd serve` in Chromium: a real upload, by mouse and by keyboard, on desktop and phone."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from makd.explain import explain
from makd.serve_app import create_app
from makd.shipped import ShippedStudent, load_shipped
from tests.trained_project import CLASSES, TrainedProject

HOSTILE = '<img src=x onerror="document.title = 1">'


@pytest.fixture(scope="module")
def student(shipped: Path) -> ShippedStudent:
    """A class has the name of an attack."""
    found = load_shipped(shipped)
    names = (HOSTILE, *CLASSES[1:])
    return replace(found, config=found.config.model_copy(update={"label_names": names}))


@pytest.fixture(scope="module")
def address(student: ShippedStudent) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(student), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def picture(trained: TrainedProject) -> Path:
    return Path(trained.predictions()["path"].iloc[2])


@pytest.fixture
def mishaps() -> Iterator[list[str]]:
    """What the browser complained of, or asked others for; must be empty at the end."""
    found: list[str] = []
    yield found
    assert found == []


def percent(p: float) -> str:
    return f"{100 * p:.{0 if p > 0.0995 else 1}f} %"


def open_page(browser: Browser, address: str, mishaps: list[str], *, width: int = 1200, dark: bool = False) -> Tab:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    tab = context.new_page()
    tab.on("console", lambda message: mishaps.append(message.text))
    tab.on("pageerror", lambda error: mishaps.append(str(error)))
    tab.on("request", lambda one: None if one.url.startswith((address, "blob:", "data:")) else mishaps.append(one.url))
    tab.goto(address)
    return tab


def test_an_upload_shows_classes_aspects_and_rivals(
    browser: Browser, address: str, picture: Path, student: ShippedStudent, mishaps: list[str]
) -> None:
    tab = open_page(browser, address, mishaps)
    expected = explain(student, picture)
    tab.set_input_files("#file", picture)
    expect(tab.locator("#predicted")).to_contain_text(expected.predicted)
    assert sorted(tab.locator("#classes li span:first-child").all_inner_texts()) == sorted(student.classes)
    assert tab.evaluate("document.getElementById('picture').naturalWidth") > 0
    for number, rival in enumerate(expected.rivals):
        tab.get_by_label("rather than").select_option(index=number)
        expect(tab.locator("#against")).to_have_text(f"← {rival.name}")
        expect(tab.locator("#balance")).to_contain_text(expected.predicted if rival.nats > 0 else rival.name)
        shown = tab.locator("#aspects li > span:first-child").all_inner_texts()
        assert shown == [aspect.question for aspect in rival.aspects]
        sides = tab.locator("#aspects .weight i").evaluate_all("bars => bars.map((bar) => bar.className)")
        assert sides == ["for" if aspect.nats > 0 else "against" for aspect in rival.aspects]
        assert tab.locator("#aspects .usual").all_inner_texts() == [
            f"here {percent(aspect.p_yes)} yes; {expected.predicted} {percent(aspect.predicted)}, "
            f"{rival.name} {percent(aspect.rival)}"
            for aspect in rival.aspects
        ]
    assert tab.title() == "resnet10t: what does it show?"
    tab.context.close()


def test_a_refusal_is_said_and_the_next_picture_is_looked_at(
    browser: Browser, address: str, picture: Path, tmp_path: Path
) -> None:
    tab = open_page(browser, address, [])  # Chromium itself complains of the 400
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    tab.set_input_files("#file", broken)
    expect(tab.locator("#status")).to_contain_text("Not that one: the upload is no PNG")
    expect(tab.locator("#result")).to_be_hidden()
    tab.set_input_files("#file", picture)
    expect(tab.locator("#result")).to_be_visible()
    expect(tab.locator("#status")).to_have_text("")
    tab.context.close()


@pytest.mark.parametrize(("width", "dark"), [(360, False), (1200, True)])
def test_it_fits_a_phone_and_the_dark(
    browser: Browser, address: str, picture: Path, mishaps: list[str], width: int, dark: bool
) -> None:
    tab = open_page(browser, address, mishaps, width=width, dark=dark)
    tab.set_input_files("#file", picture)
    expect(tab.locator("#result")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    red, *_ = json.loads(
        tab.evaluate("getComputedStyle(document.body).backgroundColor").replace("rgb(", "[").replace(")", "]")
    )
    assert (red < 60) == dark
    tab.goto(f"{address}/docs")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()


def test_the_keyboard_is_enough(browser: Browser, address: str, picture: Path, mishaps: list[str]) -> None:
    tab = open_page(browser, address, mishaps)
    tab.on("filechooser", lambda chooser: chooser.set_files(picture))  # early: Chromium is told of it in its own time
    tab.bring_to_front()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "file"
    assert tab.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    expect(tab.locator("#result")).to_be_visible()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "rival"
    before = tab.locator("#against").inner_text()
    tab.keyboard.press("ArrowDown")
    expect(tab.locator("#against")).not_to_have_text(before)
    tab.context.close()


def test_a_dropped_picture_is_looked_at(browser: Browser, address: str, picture: Path, mishaps: list[str]) -> None:
    tab = open_page(browser, address, mishaps)
    tab.evaluate(
        """async (bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            const drop = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.body.dispatchEvent(drop);
        }""",
        list(picture.read_bytes()),
    )
    expect(tab.locator("#picture")).to_have_attribute("alt", "dropped.png")
    tab.context.close()
