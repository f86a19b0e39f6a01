"""The t-SNE figure: figure 4 of arXiv 2501.13341."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from makd.embedding import Embedding
from makd.embedding_table import TEACHER, Embeddings
from makd.figures import COLOURS, MARKERS, NO_ANSWER, counted, new_figure, say_instead, shorten
from makd.metrics import most_telling

CLASSES_IN_COLOUR = 20  # more cannot be told apart, by anybody


@dataclass(frozen=True)
class Cloud:
    """The t-SNE of one set of answers, and the answers that colour it."""

    title: str
    embedding: Embedding
    p_yes: Float[np.ndarray, " images"]


def tsne_figure(
    embeddings: Embeddings,
    answers: dict[str, Float[np.ndarray, "images questions"]],
    labels: Int[np.ndarray, " images"],
    class_names: list[str],
    questions: list[str],
    *,
    student: str,
    name: str,
) -> Figure:
    """Figure 4 of arXiv 2501.13341: `student`, called `name`, left, its teacher right, on the same images.

    Above by P(yes) of the question that tells the classes apart best, below by class. `answers` and `labels` are of all
    test images, the former by source as the embeddings are.
    """
    rows = embeddings.rows
    telling = most_telling(answers[TEACHER], labels)
    clouds = [
        Cloud(title, embeddings.by_source[source], answers[source][rows, telling])
        for source, title in ((student, f"student: {name}"), (TEACHER, "teacher"))
    ]
    return draw_clouds(clouds, labels[rows], embeddings.n_images, class_names, questions[telling])


def draw_clouds(
    clouds: list[Cloud], labels: Int[np.ndarray, " images"], n_images: int, class_names: list[str], question: str
) -> Figure:
    figure = new_figure(11.0, 10.5)
    grid = figure.subplots(2, len(clouds), squeeze=False)
    shown = shown_classes(labels)
    coloured = None
    for cloud, (top, bottom) in zip(clouds, grid.T, strict=True):
        top.set_title(cloud.title)
        if cloud.embedding.points is None:
            say_instead(top, f"skipped: {cloud.embedding.reason}")
            say_instead(bottom, "")
            continue
        placed = ~np.isnan(cloud.embedding.points[:, 0])
        if not placed.all():
            top.set_title(f"{cloud.title}: {placed.sum():,} of them, the others have no answer")
        points = cloud.embedding.points[placed]
        coloured = scatter_p_yes(top, points, cloud.p_yes[placed])
        scatter_classes(bottom, points, labels[placed], shown)
    if coloured is not None:
        figure.colorbar(coloured, ax=list(grid[0]), label=f"P(yes): {shorten(question, 80)}", shrink=0.9, pad=0.01)
        add_class_legend(figure, shown, class_names, len(np.unique(labels)))
    drawn = f"{len(labels):,} of " if len(labels) < n_images else ""
    figure.suptitle(f"t-SNE of the aspect logits, {drawn}{counted(n_images, 'test image')}", fontsize=11)
    return figure


def shown_classes(labels: Int[np.ndarray, " images"]) -> Int[np.ndarray, " shown"]:
    """The classes to draw in colour: all, or some spread evenly over them."""
    present = np.unique(labels)
    if len(present) <= CLASSES_IN_COLOUR:
        return present
    spread = np.linspace(0, len(present) - 1, CLASSES_IN_COLOUR).round().astype(int)
    return np.asarray(present[spread])


def scatter_p_yes(axes: Any, points: Float[np.ndarray, "images 2"], p_yes: Float[np.ndarray, " images"]) -> Any:
    bare(axes)
    size = point_size(len(points))
    unanswered = np.isnan(p_yes)
    axes.scatter(*points[unanswered].T, s=size, c=NO_ANSWER, linewidths=0)
    return axes.scatter(
        *points[~unanswered].T, s=size, c=p_yes[~unanswered], cmap="viridis", vmin=0, vmax=1, linewidths=0
    )


def scatter_classes(
    axes: Any,
    points: Float[np.ndarray, "images 2"],
    labels: Int[np.ndarray, " images"],
    shown: Int[np.ndarray, " shown"],
) -> None:
    bare(axes)
    size = point_size(len(points))
    axes.scatter(*points[~np.isin(labels, shown)].T, s=size, c=NO_ANSWER, linewidths=0)
    for position, label in enumerate(shown):
        axes.scatter(*points[labels == label].T, s=size, linewidths=0, **class_look(position))


def class_look(position: int) -> dict[str, str]:
    """Colour and marker together are distinct for the first 7 x 8 classes; yellow is left out, too pale on white."""
    return {"c": COLOURS[position % 7], "marker": MARKERS[position // 7]}


def point_size(n_points: int) -> float:
    return float(np.clip(12000 / n_points, 6, 60))


def bare(axes: Any) -> None:
    """t-SNE's axes have no unit and no direction."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#bbbbbb")


def add_class_legend(figure: Figure, shown: Int[np.ndarray, " shown"], class_names: list[str], n_classes: int) -> None:
    axes: Any = figure.axes[0]
    # matplotlib drops labels with a leading underscore, hence the blank.
    handles = [
        axes.scatter([], [], s=30, linewidths=0, label=f" {shorten(class_names[label], 24)}", **class_look(position))
        for position, label in enumerate(shown)
    ]
    title = None if len(shown) == n_classes else f"{len(shown)} of {n_classes} classes in colour"
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, title=title)
