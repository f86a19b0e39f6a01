from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from makd.embedding import Embedding, embed, sample
from makd.embedding_table import TEACHER, Embeddings, embed_all, read_embeddings, write_embeddings
from makd.errors import UserError


@pytest.fixture
def found() -> Embeddings:
    """Of one source, so that the others are quick, and one without an answer."""
    p_yes = np.random.default_rng(0).random((40, 3))
    return embed_all({TEACHER: p_yes, "resnet18": np.full((40, 3), np.nan)}, at_most=12, perplexity=3.0)


def test_every_source_is_shown_on_the_same_drawn_images(found: Embeddings) -> None:
    p_yes, rows = np.random.default_rng(0).random((40, 3)), sample(40, 12)
    assert found.n_images == 40
    assert list(found.rows) == list(rows)
    assert found.by_source[TEACHER].points == pytest.approx(embed(p_yes[rows], 3.0).points)
    assert found.by_source["resnet18"].points is None


def test_embeddings_come_back_as_they_were_with_the_reason_of_a_source_without_points(
    found: Embeddings, tmp_path: Path
) -> None:
    write_embeddings(found, tmp_path / "e.parquet")
    back = read_embeddings(tmp_path / "e.parquet")
    assert back.n_images == 40
    assert back.rows.tolist() == found.rows.tolist()
    assert list(back.by_source) == [TEACHER, "resnet18"]
    assert np.array_equal(np.asarray(back.by_source[TEACHER].points), np.asarray(found.by_source[TEACHER].points))
    assert back.by_source["resnet18"] == Embedding(None, "no answers for these images")


def test_points_are_columns_that_anybody_can_read(found: Embeddings, tmp_path: Path) -> None:
    write_embeddings(found, tmp_path / "e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["row", "x: teacher", "y: teacher", "x: resnet18", "y: resnet18"]
    points = found.by_source[TEACHER].points
    assert points is not None
    assert table["y: teacher"].to_pylist() == points[:, 1].tolist()
    assert np.isnan(table["x: resnet18"].to_numpy()).all()


def test_equal_embeddings_give_equal_bytes(found: Embeddings, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_embeddings(found, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_file_is_named_with_the_command(found: Embeddings, tmp_path: Path) -> None:
    write_embeddings(found, tmp_path / "e.parquet")
    (tmp_path / "e.parquet").write_bytes((tmp_path / "e.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"e\.parquet cannot be read: .*; run: dvc repro --force evaluate"):
        read_embeddings(tmp_path / "e.parquet")
    with pytest.raises(UserError, match="dvc repro --force evaluate"):
        read_embeddings(tmp_path / "missing.parquet")
