"""The report as one HTML page that opens from the disk and needs no network: its content as plain data, and its HTML.

All texts may come from strangers (folder names are class names, questions are written by a machine), so they reach the
page through Jinja's escaping, or as JSON that the script sets as text. Every share and probability is in percent.
"""

import base64
import hashlib
import math
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Column:
    """`hint` explains the column, under the table too; `decimals` and `signed` (+5.4) are of number and percent."""

    key: str
    label: str
    kind: Literal["text", "number", "integer", "percent", "p", "flag"] = "text"
    decimals: int = 1
    hint: str = ""
    signed: bool = False


@dataclass(frozen=True)
class Table:
    """`id` says in which section it stands; `shown` rows are seen at first, None: all; None and NaN are empty cells."""

    id: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Value]]
    shown: int | None = None


@dataclass(frozen=True)
class Cloud:
    """t-SNE of one set of answers; `p_yes[question][image]`, None: no answer; `reason`: why there is no point.

    `x` and `y` are None of an image without any answer.
    """

    name: str
    x: list[float | None]
    y: list[float | None]
    p_yes: list[list[int | None]]
    reason: str = ""


@dataclass(frozen=True)
class Embeddings:
    """The same images in every cloud; `predicted[student][image]` and `labels` are indices of classes."""

    note: str
    teacher: Cloud
    students: list[Cloud]
    labels: list[int]
    predicted: list[list[int]]
    thumbnails: list[str]  # data URIs
    paths: list[str]


@dataclass(frozen=True)
class ClassMeans:
    """`means[source][question][class]`, the teacher first; `histogram[question][class]`: its images in ten bins."""

    sources: list[str]
    means: list[list[list[int | None]]]
    histogram: list[list[list[int]]]


@dataclass(frozen=True)
class Bar:
    """P(yes) to one question; `students` in the order of the page's."""

    question: str
    teacher: int | None
    students: list[int]


@dataclass(frozen=True)
class Verdict:
    """What one student says the image shows, and with which probability."""

    student: str
    arm: str
    predicted: str
    probability: int
    right: bool


@dataclass(frozen=True)
class Card:
    """A test image; `photo` is a data URI, `kind` what the filter offers, such as "mended by makd"."""

    photo: str
    path: str
    true_class: str
    kind: str
    verdicts: list[Verdict]
    bars: list[Bar]


@dataclass(frozen=True)
class Curve:
    """One run: `values["val accuracy, %"]` has a value an epoch; the keys are the axis titles, with units."""

    model: str
    arm: str
    seed: int
    epoch: list[int]
    values: dict[str, list[float | None]]


@dataclass(frozen=True)
class Calibration:
    """By tenth of the student's P(yes): its mean, the mean of the teacher's, and of how many answers."""

    student: str
    predicted: list[float]
    observed: list[float]
    count: list[int]


@dataclass(frozen=True)
class Page:
    """All that the page shows; what is empty is left out."""

    title: str
    summary: list[str]
    tables: list[Table]
    classes: list[str]
    questions: list[str]
    students: list[str]
    embeddings: Embeddings
    class_means: ClassMeans
    cards: list[Card]
    cards_note: str
    curves: list[Curve]
    calibrations: list[Calibration]
    params: str
    facts: dict[str, str] = field(default_factory=dict)


TABLES = {"accuracy", "questions", "agreement", "classes", "confusions", "costs"}  # those with a section of their own


def render_page(page: Page) -> str:
    """The page in UTF-8; equal content gives equal text."""
    from plotly.offline import get_plotlyjs  # 5 MB, and only here

    plotly, script = get_plotlyjs(), asset("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals.update(cell=cell, empty=empty, zip=partial(zip, strict=True))
    return environment.from_string(asset("page.html.jinja")).render(
        page=page,
        sections=sections(page),
        metrics=list(dict.fromkeys(metric for curve in page.curves for metric in curve.values)),
        models=list(dict.fromkeys(curve.model for curve in page.curves)),
        kinds=list(dict.fromkeys(card.kind for card in page.cards)),
        others=[table for table in page.tables if table.id not in TABLES],
        data=plain({name: getattr(page, name) for name in SCRIPTED}),
        css=Markup(asset("page.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        policy=policy(plotly, script),
    )


SCRIPTED = ("classes", "questions", "students", "embeddings", "class_means", "cards", "curves", "calibrations")


def asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def policy(*scripts: str) -> str:
    """No network, and these scripts alone: one that got in by a class name would not run."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def sections(page: Page) -> dict[str, str]:
    """Anchor -> title of the sections that have something to show, in order."""
    tables = {table.id for table in page.tables}
    clouds = [page.embeddings.teacher, *page.embeddings.students]
    every = {
        "summary": ("Summary", page.summary),
        "accuracy": ("Accuracy", "accuracy" in tables),
        "training": ("Training", page.curves),
        "tsne": ("Map of the answers", any(cloud.x or cloud.reason for cloud in clouds)),
        "by-class": ("Answers by class", page.class_means.means and page.questions and page.classes),
        "questions": ("Questions", "questions" in tables),
        "agreement": ("Agreement", "agreement" in tables or page.calibrations),
        "classes": ("Classes", tables & {"classes", "confusions"}),
        "images": ("Images", page.cards),
        "costs": ("Costs", "costs" in tables),
        "more": ("More tables", tables - TABLES),
        "setup": ("Setup", page.params or page.facts),
    }
    return {anchor: title for anchor, (title, content) in every.items() if content}


def empty(value: Value) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def cell(value: Value, column: Column) -> str:
    """The text of a cell; percent are already in percent."""
    if empty(value):
        return "–"
    if isinstance(value, str) or value is None:
        return str(value)
    if column.kind == "flag":
        return "yes" if value else "no"
    if column.kind == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    decimals = 0 if column.kind == "integer" else column.decimals
    sign = "+" if column.signed else ""
    return f"{value:{sign}z,.{decimals}f}".replace("-", "−")


def plain(value: Any) -> Any:
    """As JSON can hold it: five significant digits, finer than any screen, and null for NaN."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [item if isinstance(item, int | str) else plain(item) for item in value]  # a million P(yes)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    return value
