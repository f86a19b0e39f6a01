import json
from pathlib import Path

import onnxruntime
import pytest
import torch

from makd.graph_formats import INPUT
from makd.students import load_student, split_logits
from tests.trained_project import CLASSES, TrainedProject


@pytest.fixture(scope="module")
def session(graphs: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graphs / "model.onnx", providers=["CPUExecutionProvider"])


def test_onnx_names_the_outputs_by_what_they_are(
    session: onnxruntime.InferenceSession, trained: TrainedProject
) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    student, _ = load_student(trained.run())
    with torch.inference_mode():
        expected = split_logits(student(images), len(CLASSES))
    found = session.run(["class_logits", "aspect_logits"], {INPUT: images.numpy()})
    torch.testing.assert_close([torch.from_numpy(one) for one in found], list(expected), atol=1e-4, rtol=0)


def test_onnx_holds_classes_questions_and_preprocessing(session: onnxruntime.InferenceSession, graphs: Path) -> None:
    config = json.loads((graphs / "config.json").read_text())
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert about == {key: config[key] for key in ("label_names", "pretrained_cfg", "makd")}
