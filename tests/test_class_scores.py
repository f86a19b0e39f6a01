from pathlib import Path

import numpy as np
import pandas as pd

from makd.class_scores import class_columns, class_scores


def test_a_class_is_never_taken_for_a_column_of_the_manifest() -> None:
    assert class_columns(["path", "ant"]) == ["class: path", "class: ant"]


def test_scores_go_to_their_images_and_classes(tmp_path: Path) -> None:
    rows = pd.DataFrame({"image_id": ["a", "b", "b"], "path": ["x", "y", "z"], "class: path": [0.25, 0.5, 0.5]})
    rows.assign(**{"class: ant": [0.75, np.nan, np.nan]}).to_parquet(tmp_path / "zero_shot.parquet")
    found = class_scores(tmp_path / "zero_shot.parquet", pd.Series(["b", "c", "a"]), ["ant", "path"])
    np.testing.assert_array_equal(found, [[np.nan, 0.5], [np.nan, np.nan], [0.75, 0.25]])
