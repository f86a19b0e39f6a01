"""Training targets lie where the upright picture shows them, and batches depend on the seed alone."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from makd.detection_pictures import BoxedPicture, ahead, batch_rows, boxed_pictures, loaded, mirrored
from makd.detection_results import detection_rows
from makd.detection_set import DetectionSet
from makd.errors import UserError
from tests.made_up_detection import COLOURS, prepare, tables_of


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DetectionSet:
    monkeypatch.chdir(tmp_path)
    prepare()
    return tables_of("train")


@pytest.fixture
def pictures(train: DetectionSet) -> list[BoxedPicture]:
    return boxed_pictures(train)


def test_boxes_and_labels(pictures: list[BoxedPicture]) -> None:
    grey, sideways = pictures[-2:]
    assert grey.boxes.shape == (0, 4)
    assert grey.target()["labels"].dtype == torch.int64
    assert grey.pixels().shape == (3, 64, 64), "grey becomes RGB"
    assert sideways.labels.tolist() == [2], "owl, from 1; neither the crowd nor the box without an area"
    assert sideways.pixels().shape == (3, 96, 64)
    left, top, right, bottom = sideways.boxes[0].astype(int)
    inside = sideways.pixels()[:, top:bottom, left:right]
    assert (inside == torch.tensor(COLOURS[5])[:, None, None]).all()
    assert (sideways.pixels() == torch.tensor(COLOURS[5])[:, None, None]).all(dim=0).sum() == inside[0].numel()


def test_boxes_are_cut_at_the_border_of_the_upright_picture(train: DetectionSet) -> None:
    over = train.boxes.assign(left=-5.0, top=-7.0, width=500.0, height=400.0)
    cut = {picture.coco_id: picture.boxes.tolist() for picture in boxed_pictures(train._replace(boxes=over))}
    assert cut[1] == [[0, 0, 64, 64]] * 2
    assert cut[6] == [[0, 0, 64, 96]], "it lies on its side"


def test_detections_go_back_into_the_frame_of_the_dataset(train: DetectionSet, pictures: list[BoxedPicture]) -> None:
    sideways = pictures[-1]
    found = {
        "boxes": torch.from_numpy(sideways.boxes),
        "labels": torch.tensor([2.0]),
        "scores": torch.tensor([0.1234567]),
    }
    rows = detection_rows([found], [sideways], train.categories)
    assert rows.iloc[0].tolist() == [sideways.coco_id, 5, 60.0, 8.0, 32.0, 28.0, 0.123457]


def test_a_mirrored_picture_has_mirrored_boxes(pictures: list[BoxedPicture]) -> None:
    pixels, target = pictures[-1].pixels().float(), pictures[-1].target()
    flipped, boxes = mirrored(pixels, target)
    left, top, right, bottom = boxes["boxes"][0].int().tolist()
    assert (flipped[:, top:bottom, left:right] == torch.tensor(COLOURS[5])[:, None, None]).all()
    back, same = mirrored(flipped, boxes)
    assert torch.equal(back, pixels)
    assert torch.equal(same["boxes"], target["boxes"])


def test_a_pass_has_every_picture_once_and_an_order_of_its_own() -> None:
    first, second = ([batch_rows(10, 3, 0, 3 * a_pass + i) for i in range(3)] for a_pass in (0, 1))
    assert len(set(np.concatenate(first))) == 9
    assert list(np.concatenate(first)) != list(np.concatenate(second))
    np.testing.assert_array_equal(first[1], batch_rows(10, 3, 0, 1))
    assert len(batch_rows(2, 8, 0, 5)) == 2, "fewer pictures than a batch"


def test_a_batch_is_a_function_of_seed_and_iteration(pictures: list[BoxedPicture]) -> None:
    rows = np.arange(6)
    one, same, other = (loaded(pictures, rows, flip=0.5, seed=0, iteration=iteration)[0] for iteration in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_picture_that_has_changed_is_refused(pictures: list[BoxedPicture]) -> None:
    pictures[0].path.write_bytes(pictures[1].path.read_bytes())
    with pytest.raises(UserError, match="has changed since"):
        pictures[0].pixels()


@pytest.mark.parametrize("workers", [0, 2])
def test_work_ahead_keeps_its_order(workers: int) -> None:
    threads = set()

    def square(number: int) -> int:
        threads.add(threading.current_thread().name)
        return number**2

    assert list(ahead(square, range(20), workers)) == [number**2 for number in range(20)]
    assert (threading.current_thread().name in threads) == (workers == 0)
