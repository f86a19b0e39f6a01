"""What the figures of detectors show, read from their axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from PIL import Image

from makd.detection_figures import ap_figure, detections_figure
from makd.detection_set import DetectionSet
from makd.figures import figure_style
from makd.pictures import image_id
from tests.made_up_detection import prepare, tables_of


@pytest.fixture
def test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DetectionSet:
    monkeypatch.chdir(tmp_path)
    prepare()
    return tables_of("test")


def drawn(test_set: DetectionSet, *makd: dict[str, Any]) -> Figure:
    with figure_style():
        return detections_figure(test_set, {"baseline": [], "makd": list(makd)}, 4, 0.5, ", a run")


def rectangles(axes: Any) -> list[list[float]]:
    return [[*one.get_xy(), one.get_width(), one.get_height()] for one in axes.patches if isinstance(one, Rectangle)]


def test_the_boxes_of_the_first_pictures_lie_on_the_upright_pictures(test_set: DetectionSet) -> None:
    rows = np.array(drawn(test_set).axes).reshape(4, 3)
    of_first = test_set.boxes[test_set.boxes["coco_id"] == test_set.boxes["coco_id"].iloc[0]]
    np.testing.assert_allclose(rectangles(rows[0, 0]), of_first[["left", "top", "width", "height"]])
    # The last one is stored on its side, 96 x 64: left 60, top 8, 32 x 28. EXIF 6 turns it clockwise. Its crowd is
    # no object.
    assert rectangles(rows[3, 0]) == [[64 - 8 - 28, 60, 28, 32]]


def test_what_is_unsure_is_left_out_and_an_empty_panel_says_so(test_set: DetectionSet) -> None:
    one = {"image_id": 0, "category_id": 90, "bbox": [1.0, 2.0, 3.0, 4.0]}
    figure = drawn(test_set, one | {"score": 0.51}, one | {"score": 0.49}, one | {"image_id": 1, "score": 0.4})
    rows = np.array(figure.axes).reshape(4, 3)
    assert rectangles(rows[0, 2]) == [[1, 2, 3, 4]]
    assert [text.get_text() for text in rows[0, 2].texts] == ["zebra 0.51"]
    assert rows[0, 2].get_xlabel() == ""
    assert [axes.get_xlabel() for axes in (rows[0, 1], rows[1, 2])] == ["nothing", "nothing"]
    assert "0.5 or more, a run" in figure.get_suptitle()


def test_labels_at_one_place_stand_below_each_other(test_set: DetectionSet) -> None:
    one = {"image_id": 0, "bbox": [20.0, 30.0, 20.0, 20.0]}
    figure = drawn(test_set, one | {"category_id": 1, "score": 0.6}, one | {"category_id": 5, "score": 0.9})
    surest, second = (text for text in figure.axes[2].texts if isinstance(text, Annotation))
    assert (surest.get_text(), second.get_text()) == ("owl 0.90", "auk 0.60")
    assert second.get_zorder() < surest.get_zorder()
    assert second.xyann[1] < surest.xyann[1] - 6


def test_a_label_at_the_upper_edge_stands_in_the_picture(test_set: DetectionSet) -> None:
    one = {"image_id": 0, "category_id": 1, "score": 0.9}
    figure = drawn(test_set, one | {"bbox": [5.0, 0.0, 9.0, 9.0]}, one | {"bbox": [50.0, 30.0, 9.0, 9.0]})
    at_edge, inside = (text for text in figure.axes[2].texts if isinstance(text, Annotation))
    assert (at_edge.xyann[1] < 0, inside.xyann[1]) == (True, 0)


def test_a_tall_picture_makes_no_tower_and_nothing_measured_no_error(test_set: DetectionSet) -> None:
    ratio = np.divide(*drawn(test_set).get_size_inches()[::-1])
    Image.new("RGB", (4, 2000)).save(test_set.pictures["path"].iloc[0])
    content = Path(test_set.pictures["path"].iloc[0]).read_bytes()
    changed = test_set.pictures.assign(image_id=[image_id(content), *test_set.pictures["image_id"][1:]])
    tall = drawn(test_set._replace(pictures=changed))
    assert np.divide(*tall.get_size_inches()[::-1]) < 2 * ratio
    with figure_style():
        ap_figure(runs(np.nan, np.nan), 0)


def runs(*ap: float) -> pd.DataFrame:
    rows = [("net", arm, seed) for arm in ("baseline", "makd") for seed in range(len(ap) // 2)]
    table = pd.DataFrame(rows, columns=["model", "arm", "seed"])
    return table.assign(**{name: ap for name in ("AP", "AP50", "AP75")})


def marks(axes: Any) -> list[list[float]]:
    return [line.get_xdata().tolist() for line in axes.lines if len(line.get_xdata()) and line.get_linestyle() != "--"]


def test_ap_seed_by_seed_and_the_gap_of_each_seed() -> None:
    shuffled = runs(10.0, 20.0, 17.0, 13.0).sample(frac=1, random_state=0)
    with figure_style():
        figure = ap_figure(shuffled, 150)
    assert marks(figure.axes[0]) == [[10, 20], [15], [17, 13], [15]]
    assert marks(figure.axes[3]) == [[7, -7], [0]]
    assert figure.get_suptitle() == "Average precision: 150 test pictures, 2 seeds, mean ± std over seeds"


def test_no_axis_makes_much_of_little_and_none_begins_far_below_zero() -> None:
    with figure_style():
        axes = ap_figure(runs(0.0, 0.001), 150).axes
    for one in axes:
        low, high = one.get_xlim()
        assert high - low >= 1
    assert axes[0].get_xlim()[0] == pytest.approx(-0.1)
