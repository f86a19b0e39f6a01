"""Predictions as lines of text, each there as soon as it is known: a table to read, JSON Lines and CSV to process."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from makd.errors import on_a_line
from makd.predict import Prediction

FIRST_LINES = 200
"""So many paths decide how wide the table's first column is."""


def table_lines(predictions: Iterable[Prediction], k: int) -> Iterator[str]:
    """`path  Hill Jay 93.1 %  Lake Jay 4.2 %`, in columns; bad files are left to stderr."""
    predictions = (one for one in predictions if not one.error)
    first = list(islice(predictions, FIRST_LINES))
    if not first:
        return
    width, name = max(len(on_a_line(one.path)) for one in first), max(map(len, first[0].classes))
    for one in chain(first, predictions):
        cells = (f"{label:<{name}} {100 * p:5.1f} %" for label, p in one.top(k))
        yield f"{on_a_line(one.path):<{width}}  {'  '.join(cells)}"


def json_lines(predictions: Iterable[Prediction], k: int, questions: Sequence[str] = ()) -> Iterator[str]:
    """An object a line: `path` and `classes`, or `path` and `error`; with `aspects` if the student has them."""
    for one in predictions:
        yield json.dumps(as_json(one, k, questions), ensure_ascii=False)


def as_json(prediction: Prediction, k: int, questions: Sequence[str] = ()) -> dict[str, Any]:
    if prediction.error:
        return {"path": str(prediction.path), "error": prediction.error}
    top = [{"name": name, "probability": p} for name, p in prediction.top(k)]
    found: dict[str, Any] = {"path": str(prediction.path), "classes": top}
    if questions and prediction.p_yes is not None:
        found["aspects"] = [
            {"question": question, "p_yes": float(p)} for question, p in zip(questions, prediction.p_yes, strict=True)
        ]
    return found


def csv_lines(predictions: Iterable[Prediction], k: int) -> Iterator[str]:
    """`path,class_1,probability_1,...,error`; a bad file has its error alone."""
    header_due = True
    for one in predictions:
        k = min(k, len(one.classes))
        if header_due:
            header_due = False
            ranks = (f"{name}_{rank}" for rank in range(1, k + 1) for name in ("class", "probability"))
            yield csv_line(["path", *ranks, "error"])
        cells = [cell for name, p in one.top(k) for cell in (name, f"{p:.6g}")] or [""] * (2 * k)
        yield csv_line([str(one.path), *cells, one.error])


def csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # quotes what holds an end of a line
    return text.getvalue().removesuffix("\r\n")
