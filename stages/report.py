"""Draw what `evaluate` found: the figures, and the page that one opens in a browser. No number is made here.

Reads: reports/*.csv, metrics.json and embeddings.parquet of `evaluate`, costs.csv; the manifest, the aspect table, the
students' predictions; the pictures of the images that are shown.
Writes: reports/figures/*.png, reports/index.html.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from makd.errors import one_line_errors
from makd.files import atomic_write
from makd.params import Distinct, StageParams
from makd.runtime import Runtime

if TYPE_CHECKING:
    from makd.image_cards import ImageCard
    from makd.report_data import ReportData


class Params(StageParams):
    """All of params.yaml but `runtime`: the page shows it."""

    dataset: str
    models: Distinct[str]
    seeds: Distinct[int]
    n_questions: int
    alpha: float
    aspect_loss: str
    aspect_targets: str
    train_fraction: float
    kd: dict[str, Any]
    prepare_dataset: dict[str, Any]
    llm: dict[str, Any]
    generate_questions: dict[str, Any]
    select_questions: dict[str, Any]
    extract_logits: dict[str, Any]
    train: dict[str, Any]
    evaluate: dict[str, Any]


def report(
    params: Params, runtime: Runtime, *, manifest: Path, aspects: Path, runs: Path, tables: Path, costs: Path, out: Path
) -> None:
    """Write figures/ and index.html into the folder `out`, from what `evaluate` left in `tables`.

    Raises:
        UserError: a file is missing, or a run is not of these images and classes.
    """
    from makd.csv_tables import read_csv
    from makd.image_cards import choose_cards
    from makd.report_data import read_report_data

    data = read_report_data(
        manifest=manifest, aspects=aspects, runs=runs, tables=tables, models=params.models, seeds=params.seeds
    )
    model = params.models[0]
    cards = choose_cards(
        data.p_class(model, "baseline").argmax(axis=1),
        data.p_class(model, "makd"),
        data.test_labels,
        data.class_means.to_numpy(),
    )
    draw(data, cards, out / "figures")
    data.tables["costs"] = read_csv(costs, "run: dvc repro --force measure_costs")
    text = page(data, cards, params, runtime.workers)
    with atomic_write(out / "index.html") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{out / 'index.html'}: {len(text.encode()) / 1e6:.1f} MB; open it in a browser")


def draw(data: "ReportData", cards: "list[ImageCard]", out: Path) -> None:
    """The figures. Those of single images are of the first model's first seed."""
    from makd.aspect_figures import class_figure, class_means_figure, questions_figure
    from makd.card_figure import card_figure
    from makd.contact_sheet import contact_sheet
    from makd.embedding_table import TEACHER
    from makd.figures import accuracy_figure, figure_style, save_figure, training_figure
    from makd.tsne_figure import tsne_figure

    tables, model = data.tables, data.models[0]
    n_asked, n_test, name = data.n_asked, len(data.test_labels), f"{model}, seed {data.seeds[0]}"
    telling = tables["questions"]["class_information"].fillna(-1).sort_values(ascending=False, kind="stable").index[:4]
    with figure_style():
        figures = {
            "accuracy": accuracy_figure(tables["accuracy"], tables["runs"], n_test),
            "training": training_figure(tables["training"]),
            "tsne": tsne_figure(
                data.embeddings,
                {TEACHER: data.teacher_on_test, model: data.p_yes(model)},
                data.test_labels,
                data.class_names,
                data.questions,
                student=model,
                name=name,
            ),
            "questions": questions_figure(tables["questions"], tables["agreement"], n_asked),
            "class_aspects": class_figure(data.class_means, tables["questions"]["constant"], n_asked),
            "class_means": class_means_figure(data.class_means, list(telling), n_asked),
            "cards": card_figure(data, cards, name=name),
            "contact_sheet": contact_sheet(data.images),
        }
        for name, figure in figures.items():
            save_figure(figure, out / f"{name}.png")


def page(data: "ReportData", cards: "list[ImageCard]", params: Params, workers: int) -> str:
    from makd.page import Page, render_page
    from makd.page_content import (
        cards_note,
        page_calibrations,
        page_cards,
        page_class_means,
        page_curves,
        page_embeddings,
    )
    from makd.page_tables import page_tables
    from makd.source_state import source_commit, versions
    from makd.summary import summary

    return render_page(
        Page(
            title=f"makd on {params.dataset}",
            summary=summary(params.dataset, data.metrics, data.tables, learned=what_makd_learns(params)),
            tables=page_tables(data.tables),
            classes=data.class_names,
            questions=data.questions,
            students=list(data.models),
            embeddings=page_embeddings(data, workers),
            class_means=page_class_means(data),
            cards=page_cards(cards, data, workers),
            cards_note=cards_note(data),
            curves=page_curves(data.tables["training"]),
            calibrations=page_calibrations(data.tables["calibration"]),
            params=as_yaml(params),
            facts={"source commit": source_commit(), **versions()},
        )
    )


def what_makd_learns(params: Params) -> str:
    """Besides the classes, in words: an ablation is not to be read as the method."""
    learned = [f"the aspects at alpha {params.alpha:g}"] if params.alpha else []
    if params.alpha and params.aspect_targets != "mllm":
        learned = [f"{params.aspect_targets.replace('_', ' ')} answers in place of the teacher's, {learned[0]}"]
    if params.kd["source"] != "none":
        learned.append(f"class distillation ({params.kd['method']}) from the {params.kd['source']}")
    return " and ".join(learned) or "nothing else (alpha 0)"


def as_yaml(params: Params) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    text = StringIO()
    YAML().dump(params.model_dump(mode="json"), text)
    return text.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    for name in ("manifest", "aspects", "runs", "tables", "costs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    report(Params.load(), Runtime.load(), **vars(parser.parse_args()))


if __name__ == "__main__":
    with one_line_errors():
        main()
