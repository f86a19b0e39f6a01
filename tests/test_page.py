import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Dialog, Locator
from playwright.sync_api import Page as Tab

from makd.page import (
    Bar,
    Calibration,
    Card,
    ClassMeans,
    Cloud,
    Column,
    Curve,
    Embeddings,
    Page,
    Table,
    Value,
    Verdict,
    cell,
    render_page,
)

HOSTILE_CLASS = '<script>alert("x")</script>'
HOSTILE_QUESTION = '<img src=x onerror=alert(1)> "& <b>bold</b>?'
BOLD_CLASS = "<b>Lake</b> &lt; Robin"  # Plotly would print it bold
CLASSES = ["Hill Jay", HOSTILE_CLASS, BOLD_CLASS]
QUESTIONS = ["Is it red?", HOSTILE_QUESTION, "Has it a crest?"]
STUDENTS = ["resnet10t", "vit_tiny"]
KINDS = ["mended by makd", "both wrong"]
POINTS = 9
SIDES = ("teacher", "student")
Open = Callable[..., Tab]


def image(colour: int) -> str:
    """A data URI of its own for each colour, in [0, 4095]."""
    square = f"<rect width='8' height='8' fill='%23{colour:03x}'/>"
    return f"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'>{square}</svg>"


def cloud(name: str, shift: int) -> Cloud:
    """The points on a grid of three by three; image 4 has no answer to the first question."""
    p_yes: list[list[int | None]] = [[(12 * i + shift + 40 * q) % 101 for i in range(POINTS)] for q in range(3)]
    p_yes[0][0], p_yes[0][4], p_yes[0][8] = 0, None, 100
    return Cloud(name, [10.0 * (i % 3) + shift for i in range(POINTS)], [10.0 * (i // 3) for i in range(POINTS)], p_yes)


def card(number: int) -> Card:
    kind = KINDS[number % 2]
    return Card(
        photo=image(number),
        path=f"test/{number:02d}.png",
        true_class=CLASSES[number % 3],
        kind=kind,
        verdicts=[
            Verdict("resnet10t", "baseline", CLASSES[(number + 1) % 3], 61, False),
            Verdict("resnet10t", "makd", CLASSES[number % 3], 87, kind == KINDS[0]),
        ],
        bars=[Bar(text, None if i == 6 else 10 * i, [20 + i, 30 + i]) for i, text in enumerate([*QUESTIONS, *"abcd"])],
    )


def curve(model: str, arm: str, seed: int) -> Curve:
    accuracy: list[float | None] = [10.0 + seed, 20.0 + seed, 30.0 + (seed if arm == "makd" else 0)]
    loss: list[float | None] = [None if arm == "baseline" else 0.5 for _ in range(3)]
    return Curve(model, arm, seed, [1, 2, 3], {"val accuracy, %": accuracy, "aspect loss, nats": loss})


def table(rows: list[list[Value]], id: str = "classes", shown: int | None = None) -> Table:
    columns = [
        Column("class", "class"),
        Column("gap", "gap", "percent", signed=True, hint="makd − baseline"),
        Column("odd", "odd", "flag"),
    ]
    return Table(id, f"The table {id}", "All seeds.", columns, rows, shown)


ROWS: list[list[Value]] = [
    ["Lake 10", 9.5, True],
    ["Lake 9", None, False],
    [HOSTILE_CLASS, -3.25, False],
    ["Hill", 10.04, None],
    ["Coast", float("nan"), True],
    ["Bay", 0.01, False],
]


@pytest.fixture(scope="module")
def content() -> Page:
    teacher = cloud("the teacher", 0)
    return Page(
        title="Birds",
        summary=["makd helps.", f"Not with {HOSTILE_CLASS}."],
        tables=[table(ROWS, id) for id in ("accuracy", "questions", "agreement", "confusions", "costs", "mine")]
        + [table(ROWS, "classes", shown=4)],
        classes=CLASSES,
        questions=QUESTIONS,
        students=STUDENTS,
        embeddings=Embeddings(
            note="On test.",
            teacher=teacher,
            students=[cloud("resnet10t", 3), cloud("vit_tiny", 5)],
            labels=[i % 3 for i in range(POINTS)],
            predicted=[[0] * POINTS, [1] * POINTS],
            thumbnails=[image(100 + i) for i in range(POINTS)],
            paths=[f"test/<i>{i}.png" for i in range(POINTS)],
        ),
        class_means=ClassMeans(
            sources=["teacher, 90 images", "resnet10t, 30 images", "vit_tiny, 30 images"],
            means=[[[20 + s, 90 - s, 50], [10, 5, 70 + s], [None, 40, 60]] for s in range(3)],
            histogram=[[[c + q, 0, 0, 0, 0, 0, 0, 0, 1, 2] for c in range(3)] for q in range(3)],
        ),
        cards=[card(number) for number in range(30)],
        cards_note="Drawn at random.",
        curves=[curve(m, arm, seed) for m in STUDENTS for arm in ("baseline", "makd") for seed in (0, 2)],
        calibrations=[Calibration(one, [5.0, 50.0, 95.0], [2.0, 55.0, 99.0], [400, 100, 500]) for one in STUDENTS],
        params="alpha: 25.0  # <b>\n",
        facts={"git commit": "acf6aa9"},
    )


EMPTY = Page(
    "Nothing",
    [],
    [],
    [],
    [],
    [],
    Embeddings("", Cloud("t", [], [], []), [], [], [], [], []),
    ClassMeans([], [], []),
    [],
    "",
    [],
    [],
    "",
)


@pytest.fixture(scope="module")
def record() -> list[str]:
    """What the browser complained of, asked the network for, or popped up."""
    return []


@pytest.fixture
def mishaps(record: list[str]) -> Iterator[list[str]]:
    """Must be empty at the end of a test."""
    record.clear()
    yield record
    assert record == []


@pytest.fixture(scope="module")
def new_tab(browser: Browser, tmp_path_factory: pytest.TempPathFactory, record: list[str]) -> Open:
    def new_tab(page: Page, width: int = 1280, height: int = 900, **options: Any) -> Tab:
        file = tmp_path_factory.mktemp("reports") / "index.html"
        file.write_text(render_page(page), encoding="utf-8")

        def dismiss(dialog: Dialog) -> None:
            record.append(dialog.message)
            dialog.dismiss()

        def expected(url: str) -> bool:
            return url.startswith((file.as_uri(), "data:"))

        tab = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
        tab.on("console", lambda message: record.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: record.append(str(error)))
        tab.on("dialog", dismiss)
        tab.on("request", lambda request: None if expected(request.url) else record.append(request.url))
        tab.route(lambda url: not expected(url), lambda route: route.abort())
        tab.goto(file.as_uri())
        return tab

    return new_tab


@pytest.fixture
def open_page(new_tab: Open, mishaps: list[str]) -> Iterator[Open]:
    """Opens a page from the disk in a window of its own."""
    tabs: list[Tab] = []

    def open_page(page: Page, **options: Any) -> Tab:
        tabs.append(new_tab(page, **options))
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.context.close()


@pytest.fixture(scope="module")
def only_tab(new_tab: Open, content: Page) -> Tab:
    return new_tab(content)


@pytest.fixture
def tab(only_tab: Tab, mishaps: list[str]) -> Tab:
    """`content`, opened once for all tests, for starting Plotly takes a second; as when just opened, sorting apart."""
    only_tab.emulate_media(color_scheme="light", reduced_motion="no-preference")
    only_tab.mouse.move(0, 0)
    only_tab.evaluate(
        """() => {
            document.activeElement.blur();
            for (const menu of document.querySelectorAll("select")) {
                menu.selectedIndex = 0;
                menu.dispatchEvent(new Event("change"));
            }
        }"""
    )
    return only_tab


def drawn(tab: Tab, id: str) -> list[dict[str, Any]]:
    """The traces of a plot, once it is drawn."""
    tab.locator(f"#{id}").scroll_into_view_if_needed()
    tab.wait_for_function("id => document.getElementById(id).querySelector('.main-svg .cartesianlayer path')", arg=id)
    return cast(list[dict[str, Any]], tab.evaluate("id => document.getElementById(id).data", id))


def choose(tab: Tab, menu: str, label: str) -> None:
    tab.get_by_label(menu, exact=True).locator("visible=true").first.select_option(label=label)


def column(box: Locator, number: int) -> list[str]:
    return box.locator(f"tbody tr:visible td:nth-child({number})").all_inner_texts()


def table_box(tab: Tab, id: str) -> Locator:
    return tab.locator(".table").filter(has=tab.get_by_role("heading", name=f"The table {id}", exact=True))


def spot(tab: Tab, side: str, image: int) -> tuple[float, float]:
    """Where an image's point is on the screen, in pixels."""
    drawn(tab, f"map-{side}")
    box = tab.locator(f"#map-{side} .point").nth(image).bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def ring(tab: Tab, side: str) -> tuple[float, float]:
    box = tab.locator(".cloud").filter(has=tab.locator(f"#map-{side}")).locator(".ring").bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def assert_shown(tab: Tab, image: int, content: Page) -> None:
    """The tooltip shows this image, and both maps mark it."""
    tab.locator(f'#tip img[src="{content.embeddings.thumbnails[image]}"]').wait_for()
    for side in ("teacher", "student"):
        point = spot(tab, side, image)  # scrolls there
        assert ring(tab, side) == pytest.approx(point, abs=1.5)


@pytest.mark.parametrize(
    ("value", "how", "text"),
    [
        (None, Column("", ""), "–"),
        (float("nan"), Column("", "", "number"), "–"),
        ("<b>", Column("", "", "number"), "<b>"),
        (-0.04, Column("", "", "number"), "0.0"),
        (-1234.56, Column("", "", "number", decimals=2), "−1,234.56"),
        (5.43, Column("", "", "percent", signed=True), "+5.4"),
        (2900, Column("", "", "integer"), "2,900"),
        (0.0004, Column("", "", "p"), "< 0.001"),
        (0.0316, Column("", "", "p"), "0.032"),
        (True, Column("", "", "flag"), "yes"),
        (False, Column("", "", "flag"), "no"),
    ],
)
def test_cells_read_as_in_print(value: Value, how: Column, text: str) -> None:
    assert cell(value, how) == text


def test_equal_content_gives_equal_bytes_and_its_data_cannot_leave_the_script(content: Page) -> None:
    html = render_page(content)
    assert html == render_page(content)
    data = html.split('id="data">')[1].split("</script>")[0]
    assert HOSTILE_CLASS[1:7] in data
    assert not re.search("[<>&\u2028\u2029]", data)
    assert (
        "NaN"
        not in render_page(replace(content, curves=[replace(content.curves[0], values={"a": [float("nan")]})]))[
            -20_000:
        ]
    )


def test_names_of_strangers_are_text_everywhere(tab: Tab, content: Page) -> None:
    assert HOSTILE_CLASS in tab.locator("#summary").inner_text()
    assert HOSTILE_CLASS in column(table_box(tab, "accuracy"), 1)
    assert HOSTILE_CLASS in tab.locator("#tsne-legend").inner_text()
    choose(tab, "Colour", HOSTILE_QUESTION)
    tab.mouse.move(*spot(tab, "teacher", 1))
    tip = tab.locator("#tip:visible")
    tip.get_by_text("P(yes)").wait_for()
    for text in (HOSTILE_CLASS, HOSTILE_QUESTION, "test/<i>1.png"):
        assert text in tip.inner_text()
    choose(tab, "Question", HOSTILE_QUESTION)
    assert HOSTILE_QUESTION in tab.locator("#means-title").inner_text()
    assert HOSTILE_CLASS in tab.locator("#means-words").inner_text()
    drawn(tab, "means")
    assert HOSTILE_CLASS in tab.locator("#means .ytick").all_text_contents()
    tab.locator("#means .point").last.hover(force=True)
    tab.locator("#means .hovertext").wait_for()
    assert HOSTILE_CLASS in (tab.locator("#means .hovertext").text_content() or "")
    choose(tab, "Class", HOSTILE_CLASS)
    drawn(tab, "histogram")
    assert f"{HOSTILE_CLASS}, n = 5" in tab.locator("#histogram .legendtext").all_text_contents()
    assert tab.locator(".plot tspan[style*='bold'], .plot a").count() == 0
    assert HOSTILE_CLASS in tab.locator(".card h3").all_inner_texts()
    assert HOSTILE_QUESTION in tab.locator(".card").first.inner_text()
    assert "alpha: 25.0  # <b>" in tab.locator("pre").inner_text()
    assert (
        tab.locator('main script, main b, main i:not(.track i):not(.scale i), main [src="x"], svg script').count() == 0
    )


def test_neither_foreign_scripts_nor_the_network_are_allowed(tab: Tab, mishaps: list[str]) -> None:
    tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.ran = 1\">')")
    assert tab.evaluate("fetch('https://example.org').then(() => 'reached', () => 'refused')") == "refused"
    tab.wait_for_timeout(100)
    assert tab.evaluate("window.ran") is None
    assert all("Content Security Policy" in mishap or "Fetch API" in mishap for mishap in mishaps), mishaps
    assert len(mishaps) >= 3  # each was stopped by the policy, and nothing was asked of the network
    mishaps.clear()


def test_maps_are_coloured_by_class_and_by_answer(tab: Tab, content: Page) -> None:
    marker = drawn(tab, "map-teacher")[0]["marker"]
    assert [marker["color"][i] == marker["color"][0] for i in range(4)] == [True, False, False, True]
    choose(tab, "Colour", "Is it red?")
    for side in ("teacher", "student"):
        marker = drawn(tab, f"map-{side}")[0]["marker"]
        assert (marker["color"][0], marker["color"][8]) == ("rgb(68, 1, 84)", "rgb(253, 231, 37)")
        assert marker["color"][4] == "#c9cacb"
        assert marker["symbol"] == "circle"
    assert tab.locator("#map-teacher .point").first.evaluate("e => e.style.fill") == "rgb(68, 1, 84)"
    assert "100 %" in tab.locator("#tsne-legend").inner_text()


def test_student_menu_changes_the_map_and_what_the_tooltip_says(tab: Tab, content: Page) -> None:
    assert drawn(tab, "map-student")[0]["x"] == content.embeddings.students[0].x
    tab.locator("#tsne-student").select_option(label="vit_tiny")
    assert drawn(tab, "map-student")[0]["x"] == content.embeddings.students[1].x
    assert "vit_tiny, t-SNE of 9 images" in tab.locator("#map-student-title").inner_text()
    choose(tab, "Colour", "Has it a crest?")
    tab.mouse.move(*spot(tab, "student", 2))
    assert_shown(tab, 2, content)
    tip = tab.locator("#tip").inner_text()
    assert f"✗ vit_tiny says {HOSTILE_CLASS}" in tip
    teacher, student = content.embeddings.teacher.p_yes[2][2], content.embeddings.students[1].p_yes[2][2]
    assert f"P(yes): teacher {teacher} %, vit_tiny {student} %" in tip
    choose(tab, "Colour", "Is it red?")
    tab.mouse.move(*spot(tab, "student", 4))
    tab.locator("#tip").get_by_text("teacher no answer").wait_for()


def test_pointing_at_an_image_shows_it_and_marks_it_on_both_maps(tab: Tab, content: Page) -> None:
    for side, number in (("teacher", 4), ("student", 7)):
        tab.mouse.move(*spot(tab, side, number))
        assert_shown(tab, number, content)
    tab.mouse.move(0, 0)
    tab.locator("#tip img").wait_for(state="detached")
    assert tab.locator(".ring:visible").count() == 0


def test_arrow_keys_walk_through_the_images(tab: Tab, content: Page) -> None:
    drawn(tab, "map-teacher")
    drawn(tab, "map-student")
    tab.locator("#map-teacher").focus()
    assert tab.locator("#map-teacher").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    for key, number in (
        ("ArrowRight", 0),
        ("ArrowRight", 3),
        ("ArrowLeft", 0),
        ("End", 8),
        ("ArrowUp", 8),
        ("ArrowDown", 7),
    ):
        tab.keyboard.press(key)
        assert_shown(tab, number, content)
    tab.keyboard.press("Escape")
    assert tab.locator("#tip img").count() == 0


def test_zoomed_maps_keep_the_mark_on_its_point(tab: Tab, content: Page) -> None:
    x, y = spot(tab, "teacher", 4)
    tab.mouse.move(x - 60, y - 60)
    tab.mouse.down()
    tab.mouse.move(x + 60, y + 90, steps=4)
    tab.mouse.up()
    tab.wait_for_function("() => document.getElementById('map-teacher').layout.xaxis.range[1] < 20")
    tab.locator("#map-student").focus()
    tab.keyboard.press("Home")
    for _ in range(4):
        tab.keyboard.press("ArrowUp")
    assert_shown(tab, 4, content)
    tab.evaluate("Plotly.relayout('map-teacher', {'xaxis.range': [5, 18], 'yaxis.range': [8, 14]})")
    assert_shown(tab, 4, content)
    tab.keyboard.press("Home")
    assert tab.locator(".ring:visible").count() == 1  # out of sight on the enlarged map
    tab.mouse.dblclick(x, y)
    tab.wait_for_function("() => document.getElementById('map-teacher').layout.xaxis.range[1] > 20")


def test_on_a_phone_a_tap_shows_the_image_and_nothing_is_wider_than_the_screen(open_page: Open, content: Page) -> None:
    wide = Table("costs", "Wide", "", [Column(str(i), f"column {i}") for i in range(20)], [["x" * 12] * 20])
    tab = open_page(replace(content, tables=[wide]), width=390, height=844, has_touch=True, is_mobile=True)
    for plot in ("curves", "map-teacher", "map-student", "means", "histogram", "calibration"):
        drawn(tab, plot)
        assert tab.locator(f"#{plot} .main-svg").first.evaluate("e => e.clientWidth") >= 300
    tab.locator("#map-teacher").scroll_into_view_if_needed()
    tab.touchscreen.tap(*spot(tab, "teacher", 8))
    assert_shown(tab, 8, content)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    box = tab.locator("#tip").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    tab.locator("h1").tap()
    assert tab.locator("#tip img").count() == 0


def test_training_curves_show_runs_and_their_mean_in_the_colours_of_the_arms(tab: Tab) -> None:
    traces = drawn(tab, "curves")
    assert [trace["y"] for trace in traces[:3]] == [[10, 20, 30], [12, 22, 30], [11, 21, 30]]
    assert traces[2]["name"] == "baseline, mean of 2 seeds"
    assert [trace["line"]["color"] for trace in traces] == ["#0072b2"] * 3 + ["#d55e00"] * 3
    assert [traces[i]["line"]["dash"] for i in (2, 5)] == ["dash", "solid"]
    assert traces[2]["line"]["width"] > traces[0]["line"]["width"]
    choose(tab, "Show", "aspect loss, nats")
    assert [trace["y"] for trace in drawn(tab, "curves")] == [[0.5, 0.5, 0.5]] * 3
    assert tab.locator("#curves .ytitle").text_content() == "aspect loss, nats"
    assert tab.locator("#curves-title").inner_text() == "resnet10t, 2 runs: aspect loss, nats"


def test_answers_by_class_are_sorted_by_the_teacher_and_named_in_words(tab: Tab) -> None:
    assert [trace["x"] for trace in drawn(tab, "means")] == [[90, 50, 20], [89, 50, 21]]
    assert tab.locator("#means .ytick").all_text_contents() == [HOSTILE_CLASS, BOLD_CLASS, "Hill Jay"]
    choose(tab, "Question", "Has it a crest?")
    assert [trace["x"] for trace in drawn(tab, "means")] == [[60, 40, None], [60, 40, None]]
    choose(tab, "Question", HOSTILE_QUESTION)
    choose(tab, "Beside the teacher", "vit_tiny, 30 images")
    assert [trace["x"] for trace in drawn(tab, "means")] == [[70, 10, 5], [72, 10, 5]]
    words = tab.locator("#means-words").inner_text()
    assert f"teacher, 90 images: highest for {BOLD_CLASS} (70 %), lowest for <script>" in words
    assert f"vit_tiny, 30 images: highest for {BOLD_CLASS} (72 %)" in words


def test_histogram_compares_a_class_with_all(tab: Tab) -> None:
    choose(tab, "Class", BOLD_CLASS)
    of_class, of_all = drawn(tab, "histogram")
    assert of_class["y"] == [40, 0, 0, 0, 0, 0, 0, 0, 20, 40]
    assert of_all["y"] == pytest.approx([25, 0, 0, 0, 0, 0, 0, 0, 25, 50])
    choose(tab, "Question", HOSTILE_QUESTION)
    assert drawn(tab, "histogram")[0]["y"] == pytest.approx([50, 0, 0, 0, 0, 0, 0, 0, 100 / 6, 100 / 3])


def test_calibration_stands_against_the_diagonal(tab: Tab) -> None:
    diagonal, *students = drawn(tab, "calibration")
    assert diagonal["x"] == diagonal["y"] == [0, 100]
    assert [student["name"] for student in students] == ["resnet10t, n = 1,000", "vit_tiny, n = 1,000"]
    assert students[0]["y"] == [2, 55, 99]
    assert students[0]["marker"]["size"][1] < students[0]["marker"]["size"][2]


def test_tables_sort_numbers_texts_and_flags_with_the_empty_last(tab: Tab) -> None:
    box = table_box(tab, "accuracy")
    name, gap, odd = box.locator("th").all()
    gap.get_by_role("button").click()
    assert column(box, 2) == ["−3.2", "+0.0", "+9.5", "+10.0", "–", "–"]
    assert gap.get_attribute("aria-sort") == "ascending"
    gap.get_by_role("button").press("Enter")
    assert column(box, 2) == ["+10.0", "+9.5", "+0.0", "−3.2", "–", "–"]
    assert gap.get_attribute("aria-sort") == "descending"
    name.get_by_role("button").click()
    assert column(box, 1) == [HOSTILE_CLASS, "Bay", "Coast", "Hill", "Lake 9", "Lake 10"]
    assert gap.get_attribute("aria-sort") is None
    odd.get_by_role("button").click()
    odd.get_by_role("button").click()
    assert column(box, 3) == ["yes", "yes", "no", "no", "no", "–"]
    assert box.get_by_role("definition").all_inner_texts() == ["makd − baseline"]
    assert gap.get_attribute("title") == "makd − baseline"


def test_long_tables_show_their_first_rows_in_every_order(tab: Tab) -> None:
    box = table_box(tab, "classes")
    assert len(column(box, 1)) == 4
    box.locator("th").nth(1).get_by_role("button").click()
    assert column(box, 2) == ["−3.2", "+0.0", "+9.5", "+10.0"]
    more = box.locator(".more")
    assert more.inner_text() == "Show all 6"
    more.click()
    assert len(column(box, 1)) == 6
    assert more.get_attribute("aria-expanded") == "true"
    more.click()
    assert len(column(box, 1)) == 4


def test_tables_stand_in_their_sections(tab: Tab) -> None:
    where = {
        id: table_box(tab, id).locator("xpath=ancestor::section").get_attribute("id")
        for id in ("confusions", "mine", "costs")
    }
    assert where == {"confusions": "classes", "mine": "more", "costs": "costs"}
    links = tab.locator("nav a").all()
    assert len(links) == 12
    assert all(tab.locator(f"section{link.get_attribute('href')}").count() == 1 for link in links)


def test_cards_are_paged_and_filtered(tab: Tab) -> None:
    titles = tab.locator(".card .path")
    above, below = tab.locator(".pager").all()
    assert titles.all_inner_texts() == [f"test/{i:02d}.png" for i in range(12)]
    assert above.get_by_role("button", name="Previous").is_disabled()
    below.get_by_role("button", name="Next").click()
    above.get_by_role("button", name="Next").click()
    assert titles.all_inner_texts() == [f"test/{i}.png" for i in range(24, 30)]
    assert above.locator(".place").inner_text() == "page 3 of 3"
    assert below.get_by_role("button", name="Next").is_disabled()
    assert tab.locator("#cards-count").inner_text() == "Images 25 to 30 of 30"
    tab.locator("#cards-kind").select_option(label="both wrong (15)")
    assert above.locator(".place").inner_text() == "page 1 of 2"
    assert titles.all_inner_texts() == [f"test/{i:02d}.png" for i in range(1, 24, 2)]


def test_a_card_says_what_each_student_sees(tab: Tab) -> None:
    first = tab.locator(".card").first
    assert first.locator("img").get_attribute("src") == image(0)
    verdicts = first.locator(".verdicts li")
    assert verdicts.nth(0).get_by_role("img", name="wrong").count() == 1
    assert verdicts.nth(1).get_by_role("img", name="right").count() == 1
    assert re.sub(r"\s+", " ", verdicts.nth(1).inner_text()) == "✓ Hill Jay resnet10t, makd 87 %"
    bars = first.locator(".bars > li:visible")
    assert bars.count() == 5
    assert bars.nth(2).locator(".number-of").all_inner_texts() == ["20 %", "22 %", "32 %"]
    widths = bars.nth(2).locator(".track").evaluate_all("all => all.map(e => e.firstChild.offsetWidth / e.offsetWidth)")
    assert widths == pytest.approx([0.20, 0.22, 0.32], abs=0.01)
    first.locator("summary").click()
    assert bars.count() == 7
    assert bars.last.locator(".number-of").all_inner_texts()[0] == "–"


def test_the_dark_scheme_reaches_plots_that_stand(tab: Tab) -> None:
    ink = "document.getElementById('curves').layout.font.color"
    drawn(tab, "curves")
    light = tab.evaluate(ink), tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function(f"light => {ink} !== light", arg=light[0])
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != light[1]
    assert drawn(tab, "curves")[0]["line"]["color"] != "#0072b2"


def test_menus_have_labels_headings_are_in_order_and_motion_can_be_reduced(tab: Tab) -> None:
    assert tab.evaluate("[...document.querySelectorAll('select')].every(menu => menu.labels.length === 1)")
    tab.emulate_media(reduced_motion="reduce")
    levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(heading => Number(heading.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert tab.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert (
        tab.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size")
        == tab.locator("[id]").count()
    )


def test_what_is_empty_is_left_out(open_page: Open) -> None:
    tab = open_page(EMPTY)
    assert tab.locator("h1").inner_text() == "Nothing"
    assert tab.locator("section").count() == 0


def test_a_map_without_points_says_why(open_page: Open, content: Page) -> None:
    embeddings = replace(content.embeddings, students=[Cloud("resnet10t", [], [], [], "Too few images.")])
    tab = open_page(replace(content, embeddings=embeddings, tables=[table([])], cards=[], students=STUDENTS[:1]))
    assert tab.get_by_text("Too few images.").is_visible()
    tab.mouse.move(*spot(tab, "teacher", 1))
    tab.locator("#tip img").wait_for()
    choose(tab, "Colour", "Is it red?")
    assert drawn(tab, "map-teacher")[0]["marker"]["color"][0] == "rgb(68, 1, 84)"
    assert tab.get_by_text("Nothing to list.").is_visible()
    assert tab.locator("#images").count() == 0
    assert not tab.locator("#tsne-student").is_visible()


def test_an_image_without_a_place_on_one_map_is_marked_on_the_other_alone(open_page: Open, content: Page) -> None:
    teacher = content.embeddings.teacher
    x, y = ([None if i == 4 else value for i, value in enumerate(axis)] for axis in (teacher.x, teacher.y))
    embeddings = replace(content.embeddings, teacher=replace(teacher, x=x, y=y))
    tab = open_page(replace(content, embeddings=embeddings))
    drawn(tab, "map-teacher")
    assert tab.locator("#map-teacher-title").inner_text().endswith("t-SNE of 8 images (1 more without an answer)")
    assert tab.locator("#map-teacher .point").count() == POINTS - 1
    tab.mouse.move(*spot(tab, "student", 4))
    tab.locator(f'#tip img[src="{content.embeddings.thumbnails[4]}"]').wait_for()
    rings = [tab.locator(".cloud").filter(has=tab.locator(f"#map-{side}")).locator(".ring") for side in SIDES]
    assert [ring.is_visible() for ring in rings] == [False, True]
    tab.locator("#map-teacher").focus()
    marked = set()
    for key in ["Home", *["ArrowRight"] * POINTS]:
        tab.keyboard.press(key)
        marked.add(tab.locator("#tip img").get_attribute("src"))
        assert rings[0].is_visible()
    assert marked == {src for i, src in enumerate(content.embeddings.thumbnails) if i != 4}


@pytest.mark.parametrize("missing", ["questions", "students"])
def test_parts_may_be_missing(open_page: Open, content: Page, missing: str) -> None:
    no_answers = [replace(one, p_yes=[]) for one in (content.embeddings.teacher, *content.embeddings.students)]
    without = {
        "questions": replace(
            content,
            questions=[],
            embeddings=replace(content.embeddings, teacher=no_answers[0], students=no_answers[1:]),
            curves=[replace(content.curves[0], values={})],
        ),
        "students": replace(
            content,
            students=[],
            embeddings=replace(content.embeddings, students=[], predicted=[], thumbnails=[]),
            class_means=replace(content.class_means, sources=["teacher, 90 images"], histogram=[]),
            calibrations=[],
        ),
    }
    tab = open_page(without[missing])
    tab.mouse.move(*spot(tab, "teacher", 3))
    tab.locator("#tip").get_by_text("test/<i>3.png").wait_for()
    if missing == "questions":
        tab.locator("#curves").scroll_into_view_if_needed()
    else:
        assert len(drawn(tab, "means")) == 1
    assert tab.locator(".card").count() == 12


def test_a_page_of_two_thousand_images_is_small_and_opens_at_once(open_page: Open, content: Page) -> None:
    n, n_questions, n_students = 2000, 50, 4

    def large(name: str, shift: int) -> Cloud:
        p_yes: list[list[int | None]] = [[(7 * i + q + shift) % 101 for i in range(n)] for q in range(n_questions)]
        return Cloud(name, [(i * 37 % 1000) / 7 for i in range(n)], [(i * 61 % 997) / 7 for i in range(n)], p_yes)

    embeddings = Embeddings(
        note="",
        teacher=large("teacher", 0),
        students=[large(f"student {s}", s) for s in range(n_students)],
        labels=[i % 3 for i in range(n)],
        predicted=[[i % 3 for i in range(n)] for _ in range(n_students)],
        thumbnails=[f"{image(i)}<!--{i:02600d}-->" for i in range(n)],  # as long as a JPEG of 64 × 64 pixels
        paths=[f"test/{i}.png" for i in range(n)],
    )
    questions = [f"Is it of kind {q}?" for q in range(n_questions)]
    page = replace(content, embeddings=embeddings, questions=questions, students=[f"s{i}" for i in range(n_students)])
    tab = open_page(page)
    opened = tab.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert opened["domContentLoadedEventEnd"] < 2000 * busy  # ms, until all but the plots can be used
    assert Path(urlsplit(tab.url).path).stat().st_size < 15e6
    assert len(drawn(tab, "map-student")[0]["x"]) == n
    choose(tab, "Colour", "Is it of kind 3?")
    assert drawn(tab, "map-student")[0]["marker"]["symbol"] == "circle"
