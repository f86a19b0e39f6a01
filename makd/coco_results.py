"""Detections in COCO's result format: a JSON with a line a detection."""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError

from makd.errors import UserError, first_problem
from makd.files import atomic_write

Id = Annotated[int, Field(ge=-(2**63), lt=2**63, description="a whole number of 64 bits")]


class Result(BaseModel):
    """A detection in COCO's result format."""

    image_id: Id
    category_id: Id
    bbox: list[FiniteFloat] = Field(min_length=4, max_length=4)  # pycocotools takes no tuples
    score: FiniteFloat


def write_results(detections: pd.DataFrame, path: Path) -> None:
    """COCO's result format, a line a detection; see `read_results`."""
    lines = [
        f'{{"image_id":{image},"category_id":{category},"bbox":[{left},{top},{width},{height}],"score":{score}}}'
        for image, category, left, top, width, height, score in detections.itertuples(index=False)
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def read_results(path: Path, mending: str) -> list[dict[str, Any]]:
    """Dicts of image_id, category_id (COCO's ids), bbox (left, top, width, height in pixels) and score (0 to 1).

    Raises:
        UserError: there is no such file, or it is damaged; the message ends with `mending`.
    """
    try:
        return [dict(one) for one in TypeAdapter(list[Result]).validate_json(path.read_bytes())]
    except ValidationError as error:
        raise UserError(f"{path} is not in COCO's result format: {first_problem(error)}; {mending}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {mending}") from None
