from pathlib import Path

import pandas as pd

from makd.manifest import class_names, read_manifest, write_manifest

ROWS = pd.DataFrame(
    {
        "image_id": ["c", "a", "b", "d"],
        "path": ["z.png", "b.png", "a.png", "y.png"],
        "split": ["test", "train", "train", "val"],
        "label": [0, 1, 1, 0],
        "class_name": ["ant", "bee", "bee", "ant"],
    }
)


def test_rows_are_sorted_by_split_label_and_path(tmp_path: Path) -> None:
    write_manifest(ROWS, tmp_path / "m.parquet")
    assert list(read_manifest(tmp_path / "m.parquet")["path"]) == ["a.png", "b.png", "y.png", "z.png"]


def test_the_order_of_the_rows_does_not_change_the_bytes(tmp_path: Path) -> None:
    write_manifest(ROWS, tmp_path / "a.parquet")
    write_manifest(ROWS.sample(frac=1, random_state=1), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_class_names_come_by_label(tmp_path: Path) -> None:
    assert class_names(ROWS) == ["ant", "bee"]
