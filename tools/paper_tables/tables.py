"""The ablations of arXiv 2501.13341 as params: a table is a list of experiments, an experiment a few overrides.

The baseline (cross-entropy) needs no experiment: it is the other arm of each. docs/paper.md has what the paper found.
"""

from dataclasses import dataclass

ALL = "n_questions={n_candidates}"
"""All questions that the LLM writes: `generate_questions.n_candidates` of params.yaml takes the place of the braces."""


@dataclass(frozen=True)
class Row:
    """An experiment: what it is called in the table, and what `dvc exp run -S` gets."""

    label: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    title: str
    rows: tuple[Row, ...]


def sweep(param: str, *values: float | str) -> tuple[Row, ...]:
    return tuple(Row(f"{param} {value}", (f"{param}={value}",)) for value in values)


def distilled(source: str, method: str, *more: str) -> tuple[Row, ...]:
    """Class distillation alone, and with the aspects."""
    kd = (f"kd.source={source}", f"kd.method={method}", *more)
    return (
        Row(f"{method} from the {source}", (*kd, "alpha=0")),
        Row(f"{method} from the {source}, and aspects", kd),
    )


def chosen(method: str, *n_questions: int) -> tuple[Row, ...]:
    return tuple(
        Row(f"{n} by {method}", (f"n_questions={n}", f"select_questions.method={method}")) for n in n_questions
    )


TABLES = {
    "2q": Table("Figure 2: number of questions", sweep("n_questions", 10, 20, 30, 50)),
    "3a": Table("Table 3a: loss on the aspects", sweep("aspect_loss", "bce", "kl")),
    "3b": Table(
        "Table 3b: targets of the aspects", sweep("aspect_targets", "mllm", "random", "class_mean", "shuffled")
    ),
    "3c": Table("Table 3c: weight of the aspects", sweep("alpha", 1, 4, 10, 25, 50, 100)),
    "4": Table(
        "Table 4: distillation of the multimodal LLM's zero-shot class scores",
        distilled("mllm", "kd", "extract_logits.zero_shot_splits=[train]"),
    ),
    "5": Table("Table 5: share of the training images", sweep("train_fraction", 0.2, 0.4, 0.6, 0.8, 1.0)),
    "images": Table(
        "Not in the paper: how many images of a class the multimodal LLM has to see",
        tuple(
            Row(f"{targets}, {k}", (f"aspect_targets={targets}", f"extract_logits.images_per_class={k}"))
            for targets in ("class_mean", "mllm")
            for k in (1, 2, 5, 10, "null")
        ),
    ),
    "select": Table(
        "Not in the paper: questions chosen by the LLM or by information",
        # The first asks all of them. By information they are ranked by these answers, so it must run before the others,
        # and does: the queue is worked through in its order.
        (
            Row("all", (ALL, "select_questions.method=llm")),
            *chosen("llm", 5, 10, 20, 30),
            *chosen("information", 5, 10, 20, 30),
        ),
    ),
    "6": Table(
        "Table 6: with distillation from a larger classifier",
        (*distilled("classifier", "kd"), *distilled("classifier", "dkd")),
    ),
}
