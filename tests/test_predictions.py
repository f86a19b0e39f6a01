"""The predictions file."""

import math

import pandas as pd
import pyarrow as pa
import pytest
import torch

from makd.predictions import prediction_table

ROWS = pd.DataFrame(
    {
        "image_id": ["i0", "i1"],
        "path": ["a.png", "b.png"],
        "split": ["val", "test"],
        "label": [1, 0],
        "class_name": ["owl", "auk"],
    },
    index=[7, 9],
)
LN3 = math.log(3)
LOGITS = torch.tensor([[0.0, LN3, -LN3], [LN3, 0.0, 99.0]])


def test_columns_types_and_golden_values() -> None:
    table = prediction_table(ROWS, LOGITS, ["auk", "owl"], ["Does it hoot?"])
    assert table.column_names == [*ROWS.columns, "predicted", "class: auk", "class: owl", "aspect: Does it hoot?"]
    assert table.schema.field("label").type == pa.int64()
    assert {table.schema.field(name).type for name in table.column_names[6:]} == {pa.float32()}
    columns = table.to_pydict()
    assert columns["class: auk"] == pytest.approx([1 / 4, 3 / 4])
    assert columns["class: owl"] == pytest.approx([3 / 4, 1 / 4])
    assert columns["aspect: Does it hoot?"] == pytest.approx([1 / 4, 1])
    assert columns["image_id"] == ["i0", "i1"]


def test_aspect_greater_than_all_classes_is_never_the_prediction() -> None:
    table = prediction_table(ROWS, LOGITS, ["auk", "owl"], ["Does it hoot?"])
    assert table["predicted"].to_pylist() == ["owl", "auk"]


def test_baseline_has_no_aspects() -> None:
    assert prediction_table(ROWS, LOGITS[:, :2], ["auk", "owl"], []).column_names[-1] == "class: owl"
