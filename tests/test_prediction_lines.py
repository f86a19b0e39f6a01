import csv
from pathlib import Path

import numpy as np
import pytest

from makd.predict import Prediction
from makd.prediction_lines import csv_lines, table_lines

OWL = Prediction(Path("a.png"), ("auk", "owl"), np.array([0.123456, 0.876544], np.float32), None)


def test_the_table_is_in_percent_and_csv_in_shares_of_six_digits() -> None:
    assert list(table_lines([OWL], 2)) == ["a.png  owl  87.7 %  auk  12.3 %"]
    [row] = csv.DictReader(csv_lines([OWL], 2))
    found = {row[f"class_{k}"]: float(row[f"probability_{k}"]) for k in (1, 2)}
    assert found == pytest.approx({"owl": 0.876544, "auk": 0.123456}, abs=5e-7)
