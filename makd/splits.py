"""Cutting splits that the dataset does not come with: stratified by class, by content, nested in the fraction."""

import hashlib

import pandas as pd


def cut(rows: pd.DataFrame, fraction: float, seed: int) -> pd.Series:
    """True for about `fraction` of the images of each class.

    Images are ranked by a hash of `seed` and image_id: copies of one picture fall on the same side, adding images moves
    few others, and what is cut at 0.1 is also cut at 0.2. A class of two pictures or more keeps at least one on each
    side when `fraction` > 0.

    Args:
        rows: with the columns image_id and class_name.
        fraction: in [0, 1).
        seed: another seed gives another cut.

    Returns:
        bool, the index of `rows`.
    """
    ranks = rows["image_id"].map(lambda image: hashlib.sha256(f"{seed}:{image}".encode()).hexdigest())
    position = ranks.groupby(rows["class_name"]).rank(method="dense") - 1
    distinct = position.groupby(rows["class_name"]).transform("max") + 1
    wanted = (distinct * fraction).round().clip(lower=1 if fraction > 0 else 0)
    return position < wanted.clip(upper=distinct - 1)
