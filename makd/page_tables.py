"""The report's tables as the page shows them: which columns, under which names, with what said about them."""

from collections.abc import Sequence

import pandas as pd

from makd.page import Column, Table

ROWS_SHOWN = 20
CONFUSIONS_A_SIDE = 30


def page_tables(tables: dict[str, pd.DataFrame]) -> list[Table]:
    """Those of TABLES that there are, by the names of their CSV files; of the confusions, those that moved most."""
    shown = dict(tables)
    if "confusions" in tables:
        shown["confusions"] = most_moved(tables["confusions"])
    return [page_table(name, shown[name], *TABLES[name]) for name in TABLES if name in shown]


def most_moved(confusions: pd.DataFrame) -> pd.DataFrame:
    """The first and the last rows of each model: two hundred classes have thousands of pairs."""
    of_models = confusions.groupby("model", sort=False)
    first, last = of_models.head(CONFUSIONS_A_SIDE), of_models.tail(CONFUSIONS_A_SIDE)
    return confusions.loc[first.index.union(last.index)]


def page_table(name: str, table: pd.DataFrame, title: str, caption: str, columns: Sequence[Column]) -> Table:
    """Columns that are empty throughout are left out: the truth of other images than birds, the paper's other sets."""
    columns = [column for column in columns if column.key in table and table[column.key].notna().any()]
    cells = table[[column.key for column in columns]].astype(object)
    rows = cells.where(cells.notna(), None).to_numpy().tolist()
    return Table(name, title, caption, columns, rows, ROWS_SHOWN)


def percent(key: str, label: str, hint: str = "") -> Column:
    return Column(key, label, "percent", 1, hint)


def number(key: str, label: str, decimals: int = 3, hint: str = "") -> Column:
    return Column(key, label, "number", decimals, hint)


def points(key: str, label: str, hint: str = "") -> Column:
    """Percentage points, with their sign."""
    return Column(key, label, "number", 1, hint, signed=True)


MODEL = Column("model", "student")
QUESTION = [Column("rank", "rank", "integer"), Column("question", "question")]
TABLES: dict[str, tuple[str, str, list[Column]]] = {
    "accuracy": (
        "Accuracy on test",
        "Percent of the test images; with several seeds the means, and the sample's standard deviation over the seeds.",
        [
            MODEL,
            percent("baseline", "baseline", "cross-entropy on the classes alone"),
            percent("baseline_std", "± std"),
            percent("makd", "makd", "cross-entropy and what the summary above says it learns besides"),
            percent("makd_std", "± std"),
            points("gap", "gap, points", "makd − baseline, percentage points"),
            number("gap_std", "± std", 1),
            points("gap_low", "gap, from", "paired 95 % bootstrap interval of the gap over the test images"),
            points("gap_high", "gap, to"),
            Column("p_value", "p", "p", hint="McNemar's exact test; with several seeds the sign test over the images"),
            Column("n_seeds", "seeds", "integer"),
            percent("zero_shot", "MLLM zero-shot", "the multimodal LLM, asked for each class by its name"),
            percent("baseline_macro_f1", "macro F1, baseline", "mean of the F1 of the classes"),
            percent("makd_macro_f1", "macro F1, makd"),
            Column("baseline_worst_class", "worst class, baseline"),
            percent("baseline_worst", "its accuracy"),
            Column("makd_worst_class", "worst class, makd"),
            percent("makd_worst", "its accuracy"),
            percent("paper_zero_shot", "paper: zero-shot", "arXiv 2501.13341, tables 1 and 2"),
            percent("paper_baseline", "paper: baseline"),
            percent("paper_makd", "paper: makd"),
        ],
    ),
    "agreement": (
        "Does the student know the aspects?",
        "Student beside its teacher on the test images, means over the seeds.",
        [
            MODEL,
            *QUESTION,
            Column("answers", "answers", "integer", hint="of the teacher on test"),
            number("auc", "AUC", hint="a yes of the teacher (above 0.5) told from a no; 0.5 is chance, 1 perfect"),
            number("spearman", "Spearman", hint="rank correlation of P(yes)"),
            number("brier", "Brier", hint="mean squared difference of P(yes); 0 is perfect"),
            number("kl_nats", "excess BCE, nats", hint="BCE less the teacher's own entropy; 0 is perfect"),
        ],
    ),
    "faithfulness": (
        "Does the evidence of the aspects go along with the classes?",
        "Percent of the test images, means and standard deviation over the seeds. The evidence is that of makd "
        "explain: the likelihood of "
        "the student's answers under the class means of its teacher's, on the training split. The class outputs never "
        "see it.",
        [
            MODEL,
            percent("class_head", "class outputs right"),
            percent("class_head_std", "± std"),
            percent(
                "aspects_alone", "aspects alone right", "the class under which the student's answers are likeliest"
            ),
            percent("aspects_alone_std", "± std"),
            percent(
                "teacher_alone",
                "teacher's alone right",
                "the same rule on the answers of the teacher, where it has any",
            ),
            percent("chance", "chance of being right"),
            percent("agreement", "both agree"),
            percent("agreement_std", "± std"),
            percent("agreement_if_right", "agree where the classes are right"),
            percent("agreement_if_wrong", "agree where they are wrong"),
            percent(
                "supported", "evidence for the prediction", "rather than for the second choice of the class outputs"
            ),
            percent("supported_std", "± std"),
        ],
    ),
    "questions": (
        "Are the questions any good?",
        "The teacher's answers over all images that were asked.",
        [
            *QUESTION,
            Column("flags", "flags", "flag"),
            number("p_yes_mean", "mean P(yes)"),
            number("p_yes_std", "std"),
            number(
                "entropy_bits", "entropy, bits", hint="of an answer, mean over the images: how unsure the teacher is"
            ),
            number("null_share", "no answer", hint="share of all images, also of those that nobody asked about"),
            number(
                "class_information", "class information", hint="share of the answer's uncertainty that the class takes"
            ),
            number("class_share", "class share", hint="share of the variance of P(yes) between the classes"),
            Column("highest_class", "highest class"),
            Column("lowest_class", "lowest class"),
            Column("closest_question", "most correlated", "integer", hint="rank of the most correlated other question"),
            number("closest_r", "its r", 2),
            percent("truth_accuracy", "teacher right, %", "against the truth, which only the birds have"),
            number("truth_auc", "teacher's AUC"),
        ],
    ),
    "classes": (
        "Which classes moved",
        "Percent of the class's test images that are right, means over the seeds; the change in percentage points.",
        [
            MODEL,
            Column("class", "class"),
            Column("test_images", "test images", "integer"),
            percent("baseline", "baseline"),
            percent("makd", "makd"),
            points("change", "change, points"),
        ],
    ),
    "confusions": (
        "Which confusions moved",
        "Percent of the true class's test images, means over the seeds. Sorted by change: what makd mended comes "
        f"first, what it spoilt last; at most {CONFUSIONS_A_SIDE} of each and student, reports/confusions.csv has all.",
        [
            MODEL,
            Column("true_class", "true class"),
            Column("predicted_class", "taken for"),
            percent("baseline", "baseline"),
            percent("makd", "makd"),
            points("change", "change, points"),
        ],
    ),
    "costs": (
        "What the aspects cost",
        "Measured in turn on one machine. What ships drops the aspect rows and is the baseline in size and speed.",
        [
            MODEL,
            Column("device", "device"),
            Column("baseline_parameters", "parameters, baseline", "integer"),
            Column("makd_parameters", "with aspects", "integer"),
            number("baseline_mflop", "MFLOP an image, baseline", 1),
            number("makd_mflop", "with aspects", 1),
            number("baseline_train_seconds", "s an epoch, baseline", 2),
            number("makd_train_seconds", "makd", 2),
            number("train_ratio", "ratio", 3, "of the time with aspects to that without, median of the rounds"),
            number("train_ratio_low", "from", 3, "least and greatest of the rounds: 1 within them is no difference"),
            number("train_ratio_high", "to", 3),
            number("baseline_images_per_second", "images/s, baseline", 0, "in inference"),
            number("makd_images_per_second", "with aspects", 0),
            number("inference_ratio", "ratio", 3),
            number("inference_ratio_low", "from", 3),
            number("inference_ratio_high", "to", 3),
            number("extraction_seconds", "teacher, s an image", 3, "that one image took in the multimodal LLM"),
            Column("extraction_device", "teacher's device"),
        ],
    ),
}
