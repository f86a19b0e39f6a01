"""How good those are from whom a student could learn the classes: the multimodal LLM, and a larger classifier."""

from pathlib import Path

import numpy as np
import pandas as pd

from makd.class_scores import class_scores
from makd.files import parquet_errors
from makd.manifest import class_names
from makd.metrics import correct
from makd.runs import read_run


def reference_accuracies(manifest: pd.DataFrame, *, teacher: Path, zero_shot: Path) -> dict[str, float]:
    """Test accuracy in percent of those that there are.

    Args:
        manifest: all images.
        teacher: what the teacher arm of `train` wrote: "class_teacher", where it is a classifier.
        zero_shot: P(yes) of each class: "zero_shot", where the test images were asked (tables 1 and 2 of the paper).
    """
    found = {}
    if (teacher / "predictions.parquet").is_file():
        found["class_teacher"] = 100 * float(read_run(teacher, manifest).correct("test").mean())
    test = manifest[manifest["split"] == "test"]
    with parquet_errors(zero_shot, "run: dvc repro --force extract_logits"):
        values = class_scores(zero_shot, test["image_id"], class_names(manifest))
    known = ~np.isnan(values).any(axis=1)  # what was not answered is not right
    if known.any():
        right = known & correct(np.nan_to_num(values), test["label"].to_numpy(dtype=np.int64))
        found["zero_shot"] = 100 * float(right.mean())
    return found
