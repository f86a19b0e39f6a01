"""The contact sheet: what the classes look like, a row a class."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from makd.figures import shorten
from makd.manifest import class_names
from makd.thumbnails import square

MOST_CLASSES = 24
PICTURES_A_CLASS = 8
THUMBNAIL_PX = 64
CELL_IN = 0.55

Pixels = npt.NDArray[np.uint8]


def contact_sheet(manifest: pd.DataFrame) -> Figure:
    """The first training images of each class, in the manifest's order; of many classes, some spread over all."""
    train = manifest[manifest["split"] == "train"]
    names = class_names(manifest)
    labels = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_CLASSES)).round().astype(int))
    rows = [row_of_thumbnails(train[train["label"] == label]) for label in labels]
    figure = Figure(figsize=(CELL_IN * PICTURES_A_CLASS + 2, CELL_IN * len(rows) + 0.5), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(np.concatenate(rows), interpolation="lanczos")
    axes.set_yticks((np.arange(len(rows)) + 0.5) * THUMBNAIL_PX, [shorten(names[label], 28) for label in labels])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    shown = f"{len(rows)} of {len(names)} classes" if len(rows) < len(names) else f"{len(names)} classes"
    axes.set_title(f"Training images, {shown}", loc="left")
    return figure


def row_of_thumbnails(images: pd.DataFrame) -> Pixels:
    first = images.iloc[:PICTURES_A_CLASS]
    shown = [
        np.asarray(square(path, id_, THUMBNAIL_PX)) for path, id_ in zip(first["path"], first["image_id"], strict=True)
    ]
    blank = [np.full((THUMBNAIL_PX, THUMBNAIL_PX, 3), 255, np.uint8)] * (PICTURES_A_CLASS - len(shown))
    return np.concatenate(shown + blank, axis=1)
