"""Which classes and which confusions the aspects moved: test images, means over the seeds."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.metrics import confusion_matrix

from makd.runs import ARMS, Runs


def confusion_rates(
    runs: Runs, model: str, arm: str, seeds: tuple[int, ...], n_classes: int
) -> Float[np.ndarray, "true predicted"]:
    """Percent of a class's test images that are taken for each class, mean over the seeds; NaN without images."""
    of_seeds = [runs[model, arm, seed] for seed in seeds]
    counts = sum(
        confusion_matrix(run.labels("test"), run.predicted("test"), labels=np.arange(n_classes)) for run in of_seeds
    )
    n = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(100.0 * counts, n, out=np.full(counts.shape, np.nan), where=n > 0))


def class_table(runs: Runs, models: tuple[str, ...], seeds: tuple[int, ...], names: list[str]) -> pd.DataFrame:
    """A row a model and class, in the order of the labels: percent right of both arms, and the change in points."""
    images = np.bincount(next(iter(runs.values())).labels("test"), minlength=len(names))
    tables = []
    for model in models:
        right = {arm: np.diag(confusion_rates(runs, model, arm, seeds, len(names))) for arm in ARMS}
        columns = {"model": model, "class": names, "test_images": images, **right}
        tables.append(pd.DataFrame(columns | {"change": right["makd"] - right["baseline"]}))
    return pd.concat(tables, ignore_index=True)


def confusion_table(runs: Runs, models: tuple[str, ...], seeds: tuple[int, ...], names: list[str]) -> pd.DataFrame:
    """A row a model and pair of classes that either arm ever confuses, in percent of the true class's test images.

    The pairs that makd confuses least, beside the baseline, come first; those that it confuses more come last.
    """
    tables = []
    for model in models:
        rates = {arm: confusion_rates(runs, model, arm, seeds, len(names)) for arm in ARMS}
        ever = np.nan_to_num(rates["baseline"] + rates["makd"])
        np.fill_diagonal(ever, 0)
        true, predicted = np.nonzero(ever)
        pairs = pd.DataFrame({"true_class": np.take(names, true), "predicted_class": np.take(names, predicted)})
        pairs = pairs.assign(**{arm: rates[arm][true, predicted] for arm in ARMS})
        pairs = pairs.assign(change=(pairs["makd"] - pairs["baseline"]).round(9))  # equal changes are ties
        pairs.insert(0, "model", model)
        tables.append(pairs.sort_values(["change", "true_class", "predicted_class"]))
    return pd.concat(tables, ignore_index=True)
