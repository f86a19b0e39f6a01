"""Compare the arms, hold the student's answers against the teacher's, and draw the report's tables and figures.

Reads: the manifest, the aspect table, models/<model>/<arm>/seed<k>; for the birds what is true of each picture.
Writes: reports/metrics.json, accuracy.csv, accuracy.md, questions.csv, training.csv, figures/*.png.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from makd.errors import one_line_errors
from makd.files import atomic_write, main_checkout, write_json
from makd.params import Block, StageParams

if TYPE_CHECKING:
    import pandas as pd

    from makd.comparison import Comparisons
    from makd.runs import Runs


class EvaluateParams(Block):
    """The `evaluate:` block of params.yaml."""

    bootstrap_samples: int = Field(ge=100)
    tsne_images: int = Field(ge=1)
    tsne_perplexity: float = Field(gt=0)


class Params(StageParams):
    """Which runs are compared, and how."""

    dataset: str
    models: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    evaluate: EvaluateParams

    @field_validator("models", "seeds")
    @classmethod
    def once_each(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) < len(values):
            raise ValueError("name each of them once")
        return values


def evaluate(
    params: Params,
    *,
    manifest: Path,
    aspects: Path,
    zero_shot: Path,
    runs: Path,
    facts: Path,
    attributes: Path | None,
    out: Path,
) -> None:
    """Write the report's tables and figures into the folder `out`.

    `facts` (which fact a question asks about) and `attributes` (the facts of each picture) give the truth about the
    birds, which no student sees. Where either is missing, or of another dataset, the truth is reported as absent.

    Raises:
        UserError: a run is missing or is not of these classes, images and questions.
    """
    import numpy as np
    import pandas as pd

    from makd.agreement import true_answers
    from makd.aspects import asked_questions, p_yes_matrix
    from makd.comparison import compare_models, student_agreements
    from makd.manifest import class_names, read_manifest
    from makd.references import reference_accuracies
    from makd.report_metrics import report_metrics, rounded
    from makd.runs import read_runs
    from makd.tables import accuracy_markdown, accuracy_table, question_table, training_table, with_students, write_csv

    models, seeds = params.models, params.seeds
    images = read_manifest(manifest)
    trained = read_runs(runs, images, models, seeds)
    asked, labels = asked_questions(aspects), images["label"].to_numpy(dtype=np.int64)
    teacher = pd.DataFrame(p_yes_matrix(aspects, images["image_id"]).astype(np.float64), columns=asked)

    comparisons = compare_models(trained, models, seeds, params.evaluate.bootstrap_samples)
    agreements = student_agreements(trained, models, seeds, teacher[images["split"] == "test"])
    truth = np.full(teacher.shape, np.nan)
    if params.dataset == "birds" and attributes is not None:
        if facts.is_file() and attributes.is_file():
            truth = true_answers(facts, attributes, images["path"], asked)
        else:
            print(f"{facts} or {attributes} is missing, so the teacher is not held against the truth")
    questions = with_students(question_table(teacher, truth, labels, class_names(images)), agreements)
    accuracy, training = accuracy_table(comparisons), training_table(trained)

    metrics = report_metrics(images, comparisons, agreements, questions)
    if references := reference_accuracies(images, teacher=runs / "teacher", zero_shot=zero_shot):
        metrics["references"] = {name: rounded(value) for name, value in references.items()}
    write_json(metrics, out / "metrics.json")
    write_csv(accuracy, out / "accuracy.csv")
    write_csv(questions, out / "questions.csv")
    write_csv(training, out / "training.csv")
    with atomic_write(out / "accuracy.md") as temporary:
        temporary.write_text(accuracy_markdown(accuracy), encoding="utf-8")
    draw(params, images, comparisons, training, questions, teacher, trained, out / "figures")
    print(accuracy_markdown(accuracy))
    for name, value in references.items():
        print(f"{name}: {value:.1f} % of the test images")
    if n_constant := int(questions["constant"].sum()):
        constant = f"{n_constant} of {len(questions)} questions {'is' if n_constant == 1 else 'are'} constant"
        print(f"warning: {constant}: is extract_logits.model fit for these images?", file=sys.stderr)
    print(f"tables and figures: {out}")


def draw(
    params: Params,
    images: "pd.DataFrame",
    comparisons: "Comparisons",
    training: "pd.DataFrame",
    questions: "pd.DataFrame",
    teacher: "pd.DataFrame",
    runs: "Runs",
    out: Path,
) -> None:
    """The figures. The t-SNE is that of the first model's first seed."""
    from makd.aspect_figures import class_figure, questions_figure
    from makd.contact_sheet import contact_sheet
    from makd.figures import accuracy_figure, figure_style, save_figure, training_figure
    from makd.manifest import class_names
    from makd.tables import class_means
    from makd.tsne_figure import tsne_figure

    names, labels = class_names(images), images["label"].to_numpy(dtype="int64")
    is_test = (images["split"] == "test").to_numpy()
    n_test = int(is_test.sum())
    model, seed = params.models[0], params.seeds[0]
    with figure_style():
        figures = {
            "accuracy": accuracy_figure({model: by_split["test"] for model, by_split in comparisons.items()}, n_test),
            "training": training_figure(training),
            "tsne": tsne_figure(
                runs[model, "makd", seed].p_yes("test"),
                teacher[is_test].to_numpy(),
                labels[is_test],
                names,
                list(teacher.columns),
                name=f"{model}, seed {seed}",
                at_most=params.evaluate.tsne_images,
                perplexity=params.evaluate.tsne_perplexity,
            ),
            "questions": questions_figure(questions, len(images), n_test),
            "class_aspects": class_figure(class_means(teacher, labels, names), questions["constant"], len(images)),
            "contact_sheet": contact_sheet(images),
        }
        for name, figure in figures.items():
            save_figure(figure, out / f"{name}.png")


def attributes_beside(manifest: Path) -> Path:
    """What is true of the birds: in the main checkout alone, beside <split>/<species>/<picture> of their draw."""
    from makd.manifest import read_manifest

    return main_checkout() / Path(read_manifest(manifest)["path"].iloc[0]).parents[2] / "attributes.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__)
    for name in ("manifest", "aspects", "zero-shot", "runs", "facts", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    params = Params.load()
    attributes = attributes_beside(arguments.manifest) if params.dataset == "birds" else None
    evaluate(params, attributes=attributes, **vars(arguments))


if __name__ == "__main__":
    with one_line_errors():
        main()
