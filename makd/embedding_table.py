"""reports/embeddings.parquet: where t-SNE puts each test image, by the teacher's answers and by each student's."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from makd.embedding import Embedding, embed, sample
from makd.files import parquet_errors, write_parquet

TEACHER = "teacher"
REASONS = b"makd.reasons"  # in the file's metadata: why a source has no points


@dataclass(frozen=True)
class Embeddings:
    """t-SNE of the same images by several sources of answers: the teacher, and students by name."""

    rows: Int[np.ndarray, " images"]  # which of the test images, by their position in the manifest's order
    n_images: int  # that they were drawn from
    by_source: dict[str, Embedding]


def embed_all(
    answers: dict[str, Float[np.ndarray, "images questions"]], *, at_most: int, perplexity: float
) -> Embeddings:
    """Of the same images, at most so many; `answers` is P(yes) by source, NaN where there is none."""
    n_images = len(next(iter(answers.values())))
    rows = sample(n_images, at_most)
    return Embeddings(rows, n_images, {name: embed(p_yes[rows], perplexity) for name, p_yes in answers.items()})


def write_embeddings(found: Embeddings, path: Path) -> None:
    """A row an image; columns `row`, then `x: <source>` and `y: <source>`, without a unit; NaN of no place."""
    columns = {"row": pa.array(found.rows)}
    for name, embedding in found.by_source.items():
        points = np.full((len(found.rows), 2), np.nan) if embedding.points is None else embedding.points
        columns |= {f"x: {name}": pa.array(points[:, 0]), f"y: {name}": pa.array(points[:, 1])}
    reasons = {name: embedding.reason for name, embedding in found.by_source.items()}
    metadata = {REASONS: json.dumps({"n_images": found.n_images, "reasons": reasons})}
    write_parquet(pa.table(columns).replace_schema_metadata(metadata), path)


def read_embeddings(path: Path) -> Embeddings:
    """What `write_embeddings` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    with parquet_errors(path, "run: dvc repro --force evaluate"):
        table = pq.read_table(path)
    found = json.loads(table.schema.metadata[REASONS])
    by_source = {}
    for name, reason in found["reasons"].items():
        points = np.column_stack([table[f"{axis}: {name}"].to_numpy() for axis in "xy"])
        by_source[name] = Embedding(None if reason else points, reason)
    return Embeddings(table["row"].to_numpy(), found["n_images"], by_source)
