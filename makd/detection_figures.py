"""The figures of a detection report: AP of both arms, and what they find in a few test pictures."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from makd.detection_set import DetectionSet
from makd.figures import COLOURS, LOOK, counted, dots, new_figure, shorten
from makd.files import main_checkout
from makd.orientation import Frame, turn_upright
from makd.pictures import load_rgb_of
from makd.runs import ARMS

SHOWN = ("AP", "AP50", "AP75")
LEAST_SPAN = 1.0  # of an axis, in percentage points: less would make a finding of rounding
LABEL_POINTS = 6.0
FLATTEST, TALLEST = 0.2, 2.0  # of a row, height over width: more extreme pictures have margins
Results = list[dict[str, Any]]
"""Detections in COCO's result format."""


def ap_figure(runs: pd.DataFrame, n_pictures: int) -> Figure:
    """Each model's arms on the test pictures, seed by seed, and the gap; `runs` has a row a model, arm and seed."""
    models = list(runs["model"].unique())
    n_seeds = runs["seed"].nunique()
    figure = new_figure(12.0, 1.7 + 0.75 * len(models))
    *panels, gap = figure.subplots(1, len(SHOWN) + 1, sharey=True)
    for row, model in enumerate(models):
        of_model = runs[runs["model"] == model]
        for axes, measure in zip(panels, SHOWN, strict=True):
            by_arm = of_model.pivot(index="seed", columns="arm", values=measure)
            for arm, offset in zip(ARMS, (-0.17, 0.17), strict=True):
                dots(axes, by_arm[arm].to_numpy(), row + offset, *LOOK[arm])
            if measure == "AP":
                dots(gap, (by_arm["makd"] - by_arm["baseline"]).to_numpy(), float(row), "#333333", "o", "+")
    for axes, label in zip((*panels, gap), (*(f"{measure}, %" for measure in SHOWN), "gap of AP, points"), strict=True):
        axes.set_xlabel(label)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)
        axes.set_yticks(range(len(models)), [shorten(model, 28) for model in models])
        axes.set_ylim(len(models) - 0.45, -0.55)
    for axes in panels:
        widen(axes, least=0.0)
    gap.axvline(0, color="#999999", linewidth=1, linestyle="--")
    widen(gap)
    over_seeds = ", mean ± std over seeds" if n_seeds > 1 else ""
    pictures = counted(n_pictures, "test picture")
    figure.suptitle(f"Average precision: {pictures}, {counted(n_seeds, 'seed')}{over_seeds}", fontsize=10)
    handles = [gap.plot([], [], marker=LOOK[arm][1], color=LOOK[arm][0], linestyle="", label=arm)[0] for arm in ARMS]
    if n_seeds > 1:
        handles += [gap.plot([], [], "o", color="#999999", markersize=4, label="a seed")[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def widen(axes: Any, least: float | None = None) -> None:
    """Room for the numbers above the marks, and no axis so short that nothing looks like a difference."""
    low, high = axes.dataLim.intervalx
    if not np.isfinite([low, high]).all():  # nothing was measured
        return
    span = max(1.3 * (high - low), LEAST_SPAN)
    left = (low + high - span) / 2
    if least is not None:
        left = max(left, least)
    axes.set_xlim(left - 0.1 * span, left + 1.1 * span)  # a mark at 0 stands free


def detections_figure(
    found: DetectionSet, by_arm: dict[str, Results], n_pictures: int, score_min: float, whose: str = ""
) -> Figure:
    """A row a picture: its boxes, and what each arm detects with at least the score `score_min`.

    The first pictures with boxes, in the dataset's order; nothing is chosen by how well it went. `whose` names the run.
    """
    with_boxes = found.boxes["coco_id"].unique()
    pictures = found.pictures[found.pictures["coco_id"].isin(with_boxes)].iloc[:n_pictures]
    names = dict(zip(found.categories["coco_id"], found.categories["name"], strict=True))
    shown = [load_rgb_of(main_checkout() / picture.path, picture.image_id) for picture in pictures.itertuples()]
    ratios = [min(max(pixels.height / pixels.width, FLATTEST), TALLEST) for pixels in shown]
    figure = new_figure(9.0, 0.8 + 2.9 * sum(ratios))
    figure.suptitle(f"The first test pictures; scores of {score_min:g} or more{whose}", fontsize=10)
    grid = figure.subplots(len(pictures), 1 + len(by_arm), squeeze=False, gridspec_kw={"height_ratios": ratios})
    for row, picture, pixels in zip(grid, pictures.itertuples(), shown, strict=True):
        columns = {"annotated": annotated(found, picture.coco_id)}
        for arm, results in by_arm.items():
            columns[arm] = [one for one in results if one["image_id"] == picture.coco_id and one["score"] >= score_min]
        frame = Frame(picture.width, picture.height, picture.orientation)
        for axes, (title, boxes) in zip(row, columns.items(), strict=True):
            axes.imshow(pixels)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            draw_boxes(axes, boxes, frame, names)
            if picture.Index == pictures.index[0]:
                axes.set_title(title, loc="left")
            if not boxes:
                axes.set_xlabel("crowd regions alone" if title == "annotated" else "nothing", fontsize=8)
    return figure


def annotated(found: DetectionSet, coco_id: int) -> Results:
    ids = dict(zip(found.categories["label"], found.categories["coco_id"], strict=True))
    boxes = found.boxes[(found.boxes["coco_id"] == coco_id) & ~found.boxes["crowd"]]
    return [
        {"category_id": ids[box.label], "bbox": [box.left, box.top, box.width, box.height]}
        for box in boxes.itertuples()
    ]


def draw_boxes(axes: Any, boxes: Results, frame: Frame, names: dict[int, str]) -> None:
    """With their labels, the surest on top; where two start at one place, the label of the second goes below."""
    upright_px = np.abs(np.diff(axes.get_ylim()))[0]
    taken: list[np.ndarray] = []
    for box in sorted(boxes, key=lambda one: one.get("score", 1.0), reverse=True):
        left, top, width, height = box["bbox"]
        corners = turn_upright(np.array([[left, top, left + width, top + height]], dtype=np.float64), frame)[0]
        colour = COLOURS[box["category_id"] % len(COLOURS)]
        order = 100 + box.get("score", 1.0)
        edge = Rectangle(tuple(corners[:2]), *(corners[2:] - corners[:2]), fill=False, edgecolor=colour, linewidth=1.5)
        axes.add_patch(edge)
        beside = sum(np.abs(corners[:2] - other).max() < upright_px / 12 for other in taken)
        at_edge = corners[1] < upright_px / 16
        lines_down = beside + 1 if at_edge else beside
        text = shorten(names[box["category_id"]], 20) + (f" {box['score']:.2f}" if "score" in box else "")
        axes.annotate(
            text,
            corners[:2],
            (0, -1.7 * LABEL_POINTS * lines_down),
            textcoords="offset points",
            fontsize=LABEL_POINTS,
            va="bottom",
            bbox={"facecolor": "white", "edgecolor": colour, "linewidth": 0.8, "alpha": 0.8, "pad": 0.8},
            zorder=order,
        )
        taken.append(corners[:2])
