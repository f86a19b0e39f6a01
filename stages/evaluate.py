"""Compare the arms, hold the student's answers against the teacher's, and judge the questions: all numbers there are.

Reads: the manifest, the aspect table, the LLM's class scores, models/; for the birds what is true of each picture.
Writes: reports/metrics.json, details.json, accuracy.csv and .md, the tables below, embeddings.parquet. The `report`
stage draws them.
"""

import argparse
import sys
from pathlib import Path

from pydantic import Field

from makd.errors import one_line_errors
from makd.files import atomic_write, main_checkout, write_json
from makd.params import Block, Distinct, StageParams


class EvaluateParams(Block):
    """The `evaluate:` block of params.yaml."""

    bootstrap_samples: int = Field(ge=100)
    tsne_images: int = Field(ge=1)
    tsne_perplexity: float = Field(gt=0)


class Params(StageParams):
    """Which runs are compared, and how."""

    dataset: str
    models: Distinct[str]
    seeds: Distinct[int]
    evaluate: EvaluateParams


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
    """Write the report's numbers into the folder `out`.

    `facts` (which fact a question asks about) and `attributes` (the facts of each picture) give the truth about the
    birds, which no student sees. Where either is missing, or of another dataset, the truth is reported as absent.

    Raises:
        UserError: a run is missing or is not of these classes, images and questions.
    """
    import numpy as np
    import pandas as pd

    from makd.agreement import true_answers
    from makd.aspects import asked_questions, p_yes_matrix
    from makd.class_tables import class_table, confusion_table
    from makd.comparison import calibrations, compare_models, student_agreements
    from makd.csv_tables import write_csv
    from makd.embedding_table import TEACHER, embed_all, write_embeddings
    from makd.evidence import class_answer_means
    from makd.faithfulness import faithfulness_metrics, faithfulness_table
    from makd.manifest import class_names, read_manifest
    from makd.references import reference_accuracies
    from makd.report_metrics import details, report_metrics, rounded
    from makd.runs import read_runs
    from makd.tables import (
        accuracy_markdown,
        accuracy_table,
        agreement_table,
        question_table,
        run_table,
        training_table,
    )

    models, seeds = params.models, params.seeds
    images = read_manifest(manifest)
    trained = read_runs(runs, images, models, seeds)
    asked, labels, names = asked_questions(aspects), images["label"].to_numpy(dtype=np.int64), class_names(images)
    teacher = pd.DataFrame(p_yes_matrix(aspects, images["image_id"]).astype(np.float64), columns=asked)
    on_test = teacher[images["split"] == "test"]
    truth = np.full(teacher.shape, np.nan)
    if params.dataset == "birds" and attributes is not None:
        if facts.is_file() and attributes.is_file():
            truth = true_answers(facts, attributes, images["path"], asked)
        else:
            print(f"{facts} or {attributes} is missing, so the teacher is not held against the truth")

    comparisons = compare_models(trained, models, seeds, params.evaluate.bootstrap_samples)
    agreements = student_agreements(trained, models, seeds, on_test)
    in_training = images["split"] == "train"
    means = class_answer_means(teacher[in_training].to_numpy(), labels[in_training], len(names))
    references = reference_accuracies(images, teacher=runs / "teacher", zero_shot=zero_shot)
    tables = {
        "runs": run_table(trained),
        "classes": class_table(trained, models, seeds, names),
        "confusions": confusion_table(trained, models, seeds, names),
        "agreement": agreement_table(agreements, asked),
        "calibration": calibrations(trained, models, seeds, on_test),
        "faithfulness": faithfulness_table(trained, models, seeds, means, on_test.to_numpy()),
        "questions": question_table(teacher, truth, labels, names),
        "training": training_table(trained),
    }
    tables["accuracy"] = accuracy_table(
        comparisons,
        tables["runs"],
        tables["classes"],
        zero_shot=references.get("zero_shot", np.nan),
        dataset=params.dataset,
    )
    for name, table in tables.items():
        write_csv(table, out / f"{name}.csv")
    metrics = report_metrics(images, comparisons, agreements, tables["questions"])
    for row in tables["faithfulness"].to_dict("records"):
        metrics["models"][row["model"]]["faithfulness"] = faithfulness_metrics(row)
    if references:
        metrics["references"] = {name: rounded(value) for name, value in references.items()}
    write_json(metrics, out / "metrics.json")
    write_json(details(tables["classes"], tables["agreement"]), out / "details.json")
    answers = {model: trained[model, "makd", seeds[0]].p_yes("test") for model in models}
    embeddings = embed_all(
        {TEACHER: on_test.to_numpy(), **answers},
        at_most=params.evaluate.tsne_images,
        perplexity=params.evaluate.tsne_perplexity,
    )
    write_embeddings(embeddings, out / "embeddings.parquet")
    markdown = accuracy_markdown(tables["accuracy"])
    with atomic_write(out / "accuracy.md") as temporary:
        temporary.write_text(markdown, encoding="utf-8")
    print(markdown)
    for name, value in references.items():
        print(f"{name}: {value:.1f} % of the test images")
    if n_constant := int(tables["questions"]["constant"].sum()):
        constant = f"{n_constant} of {len(asked)} questions {'is' if n_constant == 1 else 'are'} constant"
        print(f"warning: {constant}: do they suit these images, and who answers them?", file=sys.stderr)
    print(f"tables: {out}")


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
