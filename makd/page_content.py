"""The content of reports/index.html, out of the report's tables and of what students and teacher said."""

from typing import Any

import numpy as np
import pandas as pd

from makd.embedding_table import TEACHER
from makd.figures import counted
from makd.image_cards import CARDS_A_KIND, ImageCard
from makd.page import Bar, Calibration, Card, ClassMeans, Cloud, Curve, Verdict
from makd.page import Embeddings as PageEmbeddings
from makd.report_data import ReportData, Values
from makd.runs import ARMS
from makd.thumbnails import data_uris

POINT_PX, CARD_PX = 64, 160
BINS = 10
CURVES = {
    "val accuracy, %": "val_accuracy",
    "train accuracy, %": "train_accuracy",
    "train cross-entropy of the classes, nats": "train_class_loss",
    "train aspect loss, nats": "train_aspect_loss",
    "val aspect BCE, nats": "val_aspect_bce",
}


def page_embeddings(data: ReportData, workers: int) -> PageEmbeddings:
    """Figure 4: the same images by the teacher's and each student's answers."""
    found = data.embeddings
    rows, shown = found.rows, data.test_images.iloc[found.rows]

    def cloud(name: str, p_yes: Values) -> Cloud:
        embedding = found.by_source[name]
        points = np.zeros((0, 2)) if embedding.points is None else embedding.points.round(3)
        x, y = ([None if np.isnan(value) else float(value) for value in axis] for axis in points.T)
        return Cloud(name, x, y, percents(p_yes[rows].T), embedding.reason)

    of = "all" if len(rows) == found.n_images else f"{len(rows):,} of"
    return PageEmbeddings(
        note=f"{of} {counted(found.n_images, 'test image')}, first seed",
        teacher=cloud(TEACHER, data.teacher_on_test),
        students=[cloud(model, data.p_yes(model)) for model in data.models],
        labels=data.test_labels[rows].tolist(),
        predicted=[data.p_class(model, "makd")[rows].argmax(axis=1).tolist() for model in data.models],
        thumbnails=data_uris(shown, POINT_PX, workers),
        paths=list(shown["path"]),
    )


def page_class_means(data: ReportData) -> ClassMeans:
    """Figure 3: mean P(yes) by class of the teacher, over all images, and of the students, over test and all seeds."""
    n_classes = len(data.class_names)

    def student_means(model: str) -> Values:
        p_yes = np.mean([data.runs[model, "makd", seed].p_yes("test") for seed in data.seeds], axis=0)
        by_class = pd.DataFrame(p_yes).groupby(data.test_labels).mean().reindex(range(n_classes))
        return np.asarray(by_class)

    p_yes = data.teacher.to_numpy()
    answered = ~np.isnan(p_yes)
    bins = np.minimum(np.nan_to_num(p_yes) * BINS, BINS - 1).astype(int)
    cells = data.labels[:, None] * BINS + bins
    histogram = [
        np.bincount(cells[answered[:, question], question], minlength=n_classes * BINS).reshape(n_classes, BINS)
        for question in range(p_yes.shape[1])
    ]
    test = counted(len(data.test_labels), "test image")
    return ClassMeans(
        sources=[f"teacher, {counted(data.n_asked, 'image')}", *(f"{model}, {test}" for model in data.models)],
        means=[
            percents(data.class_means.to_numpy().T),
            *(percents(student_means(model).T) for model in data.models),
        ],
        histogram=[counts.tolist() for counts in histogram],
    )


def page_cards(chosen: list[ImageCard], data: ReportData, workers: int) -> list[Card]:
    """Figure 5: single images, with what every student and the teacher say of them."""
    images = data.test_images.iloc[[card.row for card in chosen]]
    photos = data_uris(images, CARD_PX, workers)
    p_class = {(model, arm): data.p_class(model, arm) for model in data.models for arm in ARMS}
    p_yes = {model: data.p_yes(model) for model in data.models}

    def verdict(model: str, arm: str, row: int) -> Verdict:
        p = p_class[model, arm][row]
        predicted = int(p.argmax())
        right = predicted == int(data.test_labels[row])
        return Verdict(model, arm, data.class_names[predicted], percents(p.max()), right)

    return [
        Card(
            photo=photo,
            path=image.path,
            true_class=image.class_name,
            kind=card.kind,
            verdicts=[verdict(model, arm, card.row) for model in data.models for arm in ARMS],
            bars=[
                Bar(
                    data.questions[question],
                    percents(data.teacher_on_test[card.row, question]),
                    [percents(p_yes[model][card.row, question]) for model in data.models],
                )
                for question in card.questions
            ],
        )
        for card, photo, image in zip(chosen, photos, images.itertuples(), strict=True)
    ]


def cards_note(data: ReportData) -> str:
    return (
        f"Test images drawn at random, at most {CARDS_A_KIND} of each kind, which is that of {data.models[0]}, seed "
        f"{data.seeds[0]}. The questions are those whose mean answers differ most between the true class and a rival, "
        "the class that it is mistaken for, or else the second likeliest."
    )


def page_curves(training: pd.DataFrame) -> list[Curve]:
    """A line a run; a measure that an arm has not is left out."""
    curves = []
    for (model, arm, seed), rows in training.groupby(["model", "arm", "seed"], sort=False):
        kept = [column for column in CURVES.values() if column in rows and rows[column].notna().any()]
        kept = [column for column in kept if arm == "makd" or "aspect" not in column]
        values = {label: numbers(rows[column]) for label, column in CURVES.items() if column in kept}
        curves.append(Curve(model, arm, int(seed), rows["epoch"].tolist(), values))
    return curves


def page_calibrations(calibration: pd.DataFrame) -> list[Calibration]:
    """In percent."""
    known = calibration[calibration["answers"] > 0]
    return [
        Calibration(model, (100 * rows["student"]).tolist(), (100 * rows["teacher"]).tolist(), rows["answers"].tolist())
        for model, rows in known.groupby("model", sort=False)
    ]


def numbers(values: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def percents(values: Any) -> Any:
    """Probabilities as whole percents, nested as they are; None where there is none."""
    if np.ndim(values):
        return [percents(row) for row in values]
    return None if np.isnan(values) else round(100 * float(values))
