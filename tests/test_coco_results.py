from pathlib import Path

import pandas as pd
import pytest

from makd.coco_results import read_results, write_results
from makd.detection_results import COLUMNS
from makd.errors import UserError


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_results(pd.DataFrame([[7, 3, 1.5, 2.0, 3.0, 4.25, 0.5]], columns=COLUMNS), tmp_path / "found.json")
    assert read_results(tmp_path / "found.json", "") == [
        {"image_id": 7, "category_id": 3, "bbox": [1.5, 2.0, 3.0, 4.25], "score": 0.5}
    ]


@pytest.mark.parametrize(
    "content", ["{}", "5", '[{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}]', "[{", '[{"bbox": [1]}]']
)
def test_results_that_are_none_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "found.json").write_text(content)
    with pytest.raises(UserError, match=r"found\.json is not in COCO's result format: .*; mend it$"):
        read_results(tmp_path / "found.json", "mend it")
