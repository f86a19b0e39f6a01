"""On answers that do not ship with the project: MAKD_ANSWERS names a folder with LaViD's <dataset>/logits/*.json."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from makd.answer_owners import own_answers

FOLDER = Path(os.environ.get("MAKD_ANSWERS", "absent"))
FILES = sorted(FOLDER.glob("**/logits/*_text.json"))

pytestmark = pytest.mark.real


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_answers_by_class_are_those_of_the_file(file: Path) -> None:
    expected = json.loads(file.read_text())
    names = [name.title().replace(" ", "_") for name in expected]  # as folders are called
    manifest = pd.DataFrame({"image_id": names, "path": names, "class_name": names})
    got = own_answers(file.absolute(), None, manifest, Path(), [])
    assert got.index.name == "class_name"
    assert list(got.index) == names
    np.testing.assert_allclose(got, list(expected.values()), rtol=1e-6)
    assert 0 < got.to_numpy().std() < 0.5
