"""The command line, `makd` or `python -m makd`: what users of a trained student type. Each command is a function, too.

| command | function |
| --- | --- |
| `makd export` | `makd.export.export` |
| `makd predict` | `makd.predict.predict` |
| `makd explain` | `makd.explain.explain` |
| `makd evaluate-folder` | `makd.evaluate_folder.evaluate_folder` |
| `makd serve` | `makd.serve.serve` |
| `makd answers` | `makd.store_cli.answers` |

What computes is imported by the command that needs it, so that --help needs no second.
"""

import errno
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from makd.errors import UserError, on_a_line, one_line_errors

if TYPE_CHECKING:
    from makd.predict import Prediction
    from makd.shipped import Format

app = typer.Typer(
    name="makd",
    help="Make a trained student leave the pipeline, and use it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class FormatName(StrEnum):
    """Those of makd.shipped.FILES."""

    safetensors = "safetensors"
    onnx = "onnx"
    pt2 = "pt2"


Model = Annotated[Path, typer.Argument(help="A folder that `makd export` wrote.")]
Computing = Annotated[
    FormatName | None, typer.Option("--format", help="Which file computes; default: the first there is.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command("export")
def export_command(
    run: Annotated[Path, typer.Argument(help="A folder of `train`, such as models/resnet10t/makd/seed0.")],
    to: Annotated[Path, typer.Option("--to", help="Where to: a new folder, or an earlier export.")],
    aspects: Annotated[bool, typer.Option("--aspects", help="With the aspect head, for `makd explain`.")] = False,
    formats: Annotated[
        list[FormatName] | None, typer.Option("--format", help="safetensors (default), onnx, pt2; may be repeated.")
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="The pipeline's tables.")] = Path("data"),
) -> None:
    """Write a trained student for timm, makd and others."""
    from makd.export import export

    chosen: dict[Format, None] = dict.fromkeys(one.value for one in formats or [FormatName.safetensors])
    folder = export(run, to, aspects=aspects, formats=tuple(chosen), data=data)
    print(f"{to}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


@app.command("predict")
def predict_command(
    model: Model,
    images: Annotated[list[str], typer.Argument(help="Pictures, folders, patterns.")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="So many classes an image.")] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line, with the aspects if there are any.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A line an image.")] = False,
    format: Computing = None,
    progress: Annotated[bool, typer.Option(help="The bar on stderr.")] = True,
) -> None:
    """Say what pictures show; bad files are named and skipped.

    The exit code is 1 if any was.
    """
    from makd.predict import predict
    from makd.prediction_lines import csv_lines, json_lines, table_lines
    from makd.shipped import load_shipped

    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other; give one of them")
    student, bad = load_shipped(model, format.value if format else None), BadFiles()
    found = bad.named(predict(student, images, progress=progress))
    if as_json:
        lines = json_lines(found, top, student.questions)
    else:
        lines = csv_lines(found, top) if as_csv else table_lines(found, top)
    write(lines)
    bad.end()


def write(lines: Iterable[str]) -> None:
    """On stdout, to the last byte."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more as it ends
        raise UserError(f"the output cannot be written: {error.strerror}; make room") from None


class BadFiles:
    """Counts the bad files that pass by, and names them on stderr."""

    def __init__(self) -> None:
        self.n = self.n_all = 0

    def named(self, predictions: "Iterable[Prediction]") -> "Iterator[Prediction]":
        for one in predictions:
            self.n_all += 1
            if one.error:
                self.n += 1
                print(f"skipped: {on_a_line(one.error)}", file=sys.stderr)
            yield one

    def end(self) -> None:
        if self.n:
            print(f"{self.n} of {self.n_all} files were skipped", file=sys.stderr)
            raise typer.Exit(1)


@app.command("explain")
def explain_command(
    model: Annotated[Path, typer.Argument(help="A folder that `makd export --aspects` wrote.")],
    image: Annotated[Path, typer.Argument(help="A picture.")],
    rivals: Annotated[int, typer.Option("--rivals", min=1, help="So many of the next likeliest classes.")] = 2,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="So many aspects each.")] = 6,
    as_json: Json = False,
    card: Annotated[Path | None, typer.Option("--card", help="Draw it into this PNG file, too.")] = None,
    format: Computing = None,
) -> None:
    """Say which aspects speak for the predicted class."""
    import json

    from makd.explain import explain, explanation_text
    from makd.pictures import load_rgb

    picture = load_rgb(image)
    if card:
        from makd.explanation_card import check_card, save_card

        check_card(card, image)
    found = explain(model, picture, rivals=rivals, format=format.value if format else None)
    write([json.dumps(found.as_json(), ensure_ascii=False) if as_json else explanation_text(found, shown=top)])
    if card:
        save_card(found, picture, card)


@app.command("evaluate-folder")
def evaluate_folder_command(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="A folder a class in it, named like the classes.")],
    as_json: Json = False,
    format: Computing = None,
    progress: Annotated[bool, typer.Option(help="The bar on stderr.")] = True,
) -> None:
    """Measure a student on pictures in a folder a class.

    Bad files are named; the exit code is then 1.
    """
    import json

    from makd.evaluate_folder import evaluate_folder, evaluation_text

    found = evaluate_folder(model, folder, format=format.value if format else None, progress=progress)
    write([json.dumps(found.as_json(), ensure_ascii=False) if as_json else evaluation_text(found)])
    for error in found.bad:
        print(f"skipped: {on_a_line(error)}", file=sys.stderr)
    if found.bad:
        raise typer.Exit(1)


@app.command("serve")
def serve_command(
    model: Model,
    host: Annotated[str, typer.Option("--host", help="Another address opens it to others: there is no password.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: one that is free.")] = 8000,
    format: Computing = None,
) -> None:
    """Show it in a browser, with an API for programs."""
    from makd.serve import serve

    serve(model, host=host, port=port, format=format.value if format else None)


AS_TYPED = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@app.command("answers", context_settings=AS_TYPED, add_help_option=False)
def answers_command(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Look after the store of the teacher's answers."""
    from makd.store_cli import answers

    answers(words or [], prog="makd answers")


def main() -> None:
    # What is too large is refused with a line of our own; the warning before it is about the library.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit", module="PIL")
    with one_line_errors():
        app()
