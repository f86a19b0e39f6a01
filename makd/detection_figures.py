"""The figures of a detection report: AP of both arms, and what they find in a few test pictures."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from makd.detection_set import DetectionSet
from makd.figures import COLOURS, LOOK, dots, new_figure, shorten
from makd.files import main_checkout
from makd.orientation import Frame, turn_upright
from makd.pictures import load_rgb_of
from makd.runs import ARMS

SHOWN = ("AP", "AP50", "AP75")
Results = list[dict[str, Any]]
"""Detections in COCO's result format."""


def ap_figure(runs: pd.DataFrame) -> Figure:
    """Each model's arms on the test pictures, seed by seed; `runs` has a row a model, arm and seed."""
    models = list(runs["model"].unique())
    figure = new_figure(10.0, 1.5 + 0.75 * len(models))
    for axes, measure in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN, strict=True):
        for row, model in enumerate(models):
            for arm, offset in zip(ARMS, (-0.17, 0.17), strict=True):
                of_arm = runs[(runs["model"] == model) & (runs["arm"] == arm)]
                dots(axes, of_arm[measure].to_numpy(), row + offset, *LOOK[arm])
        axes.set_xlabel(f"{measure}, %")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        axes.set_yticks(range(len(models)), [shorten(model, 28) for model in models])
        axes.set_ylim(len(models) - 0.45, -0.55)
    handles = [axes.plot([], [], marker=LOOK[arm][1], color=LOOK[arm][0], linestyle="", label=arm)[0] for arm in ARMS]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def detections_figure(found: DetectionSet, by_arm: dict[str, Results], n_pictures: int, score_min: float) -> Figure:
    """A row a picture: its boxes, and what each arm detects with at least the score `score_min`.

    The first pictures with boxes, in the dataset's order; nothing is chosen by how well it went.
    """
    with_boxes = found.boxes["coco_id"].unique()
    pictures = found.pictures[found.pictures["coco_id"].isin(with_boxes)].iloc[:n_pictures]
    names = dict(zip(found.categories["coco_id"], found.categories["name"], strict=True))
    figure = new_figure(9.0, 0.4 + 2.9 * len(pictures))
    grid = figure.subplots(len(pictures), 1 + len(by_arm), squeeze=False)
    for row, picture in zip(grid, pictures.itertuples(), strict=True):
        columns = {"annotated": annotated(found, picture.coco_id)}
        for arm, results in by_arm.items():
            columns[arm] = [one for one in results if one["image_id"] == picture.coco_id and one["score"] >= score_min]
        pixels = load_rgb_of(main_checkout() / picture.path, picture.image_id)
        frame = Frame(picture.width, picture.height, picture.orientation)
        for axes, (title, boxes) in zip(row, columns.items(), strict=True):
            axes.imshow(pixels)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            for box in boxes:
                draw_box(axes, box, frame, names)
            if picture.Index == pictures.index[0]:
                axes.set_title(title, loc="left")
    return figure


def annotated(found: DetectionSet, coco_id: int) -> Results:
    ids = dict(zip(found.categories["label"], found.categories["coco_id"], strict=True))
    boxes = found.boxes[(found.boxes["coco_id"] == coco_id) & ~found.boxes["crowd"]]
    return [
        {"category_id": ids[box.label], "bbox": [box.left, box.top, box.width, box.height]}
        for box in boxes.itertuples()
    ]


def draw_box(axes: Any, box: dict[str, Any], frame: Frame, names: dict[int, str]) -> None:
    left, top, width, height = box["bbox"]
    corners = turn_upright(np.array([[left, top, left + width, top + height]], dtype=np.float64), frame)[0]
    colour = COLOURS[box["category_id"] % len(COLOURS)]
    size = corners[2:] - corners[:2]
    axes.add_patch(Rectangle(tuple(corners[:2]), *size, fill=False, edgecolor=colour, linewidth=1.5))
    text = shorten(names[box["category_id"]], 20) + (f" {box['score']:.2f}" if "score" in box else "")
    style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8}
    axes.text(*corners[:2], text, fontsize=6, color=colour, va="bottom", bbox=style, clip_on=True)
