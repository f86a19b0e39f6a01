"""The file of predictions: what a student says about every image that it was not trained on."""

import pandas as pd
import pyarrow as pa
import torch
from jaxtyping import Float32
from torch import Tensor

from makd.students import split_logits


def prediction_table(
    rows: pd.DataFrame, logits: Float32[Tensor, "images outputs"], classes: list[str], questions: list[str]
) -> pa.Table:
    """The manifest's columns, `predicted` (a class name), then float32 columns of probabilities.

    "class: <name>", in the order of the labels, is the softmax over the C class outputs alone; "aspect: <question>", in
    the order of their rank, the sigmoid. An aspect can never be the prediction.
    """
    class_logits, aspect_logits = split_logits(logits, len(classes))
    predicted = [classes[label] for label in class_logits.argmax(dim=1).tolist()]
    columns = {name: pa.array(rows[name]) for name in ("image_id", "path", "split", "label", "class_name")}
    columns["predicted"] = pa.array(predicted, pa.string())
    for prefix, names, values in (
        ("class", classes, class_logits.softmax(dim=1)),
        ("aspect", questions, torch.sigmoid(aspect_logits)),
    ):
        columns |= {f"{prefix}: {name}": pa.array(values[:, i].numpy()) for i, name in enumerate(names)}
    return pa.table(columns)
