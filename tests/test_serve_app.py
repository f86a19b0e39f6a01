"""The web application: its answers, what it refuses, and a fuzzer that reads its own description of itself."""

import io
import struct
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image
from schemathesis.specs.openapi.checks import positive_data_acceptance

from makd.explain import explain
from makd.export import export
from makd.serve_app import create_app
from makd.shipped import ShippedStudent, load_shipped
from makd.upload import MOST_PIXELS, TYPES
from tests.trained_project import CLASSES, QUESTIONS, TrainedProject, knowing_one_class

PNG = {"Content-Type": "image/png"}


def encoded(kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, kind)
    return file.getvalue()


def local_client(student: ShippedStudent) -> TestClient:
    return TestClient(create_app(student), base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def student(shipped: Path) -> ShippedStudent:
    return load_shipped(shipped)


@pytest.fixture(scope="module")
def client(student: ShippedStudent) -> TestClient:
    return local_client(student)


def test_it_says_what_the_student_says(client: TestClient, student: ShippedStudent) -> None:
    picture = Image.open(io.BytesIO(encoded()))
    said = client.post("/api/predict?top=2", content=encoded(), headers=PNG).json()
    assert {one["name"]: one["probability"] for one in said["classes"]} == dict(
        list(student.predict(picture).items())[:2]
    )
    assert {one["question"]: one["p_yes"] for one in said["aspects"]} == student.aspects(picture)
    found = client.post("/api/explain?rivals=1", content=encoded(), headers=PNG).json()
    expected = explain(student, picture, rivals=1)
    assert found["predicted"] == expected.predicted
    assert [one["nats"] for one in found["rivals"]] == [one.nats for one in expected.rivals]
    about = client.get("/api/model").json()
    assert about == {"architecture": "resnet10t", "classes": CLASSES, "questions": QUESTIONS, "image_px": 32}


@pytest.mark.parametrize(("name", "kind"), TYPES.items())
def test_every_type_that_it_names_is_read(client: TestClient, name: str, kind: str) -> None:
    answer = client.post("/api/predict", content=encoded(kind), headers={"Content-Type": f"{name}; charset=binary"})
    assert answer.status_code == 200


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be as large as that."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize(
    ("content", "headers", "status", "detail"),
    [
        (encoded(), {"Content-Type": "text/html"}, 415, "the Content-Type is text/html, expected one of image/png"),
        (encoded(), {}, 415, "the Content-Type is missing"),
        (encoded("JPEG"), PNG, 400, "no PNG that can be read"),
        (b"", PNG, 400, "no PNG that can be read"),
        (encoded()[:-30], PNG, 400, "the upload cannot be read as a picture"),
        (claims(MOST_PIXELS // 1000 + 1, 1000), PNG, 413, "more than 50 million pixels"),
        (claims(2**20, 2**20), PNG, 413, "more than 50 million pixels"),
        (encoded(size=(60_000, 1)), PNG, 400, "the picture is 60000 x 1, too thin to be resized"),
    ],
)
@pytest.mark.parametrize("path", ["/api/predict", "/api/explain"])
def test_what_is_no_small_picture_is_refused(
    client: TestClient, path: str, content: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    answer = client.post(path, content=content, headers=headers)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


def test_a_body_without_end_is_cut_off(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.upload.MOST_BYTES", 2000)
    assert client.post("/api/predict", content=b"x" * 2000, headers=PNG).status_code == 400
    answer = client.post("/api/predict", content=(b"x" * 100 for _ in range(100)), headers=PNG)  # of unknown length
    assert answer.status_code == 413


def test_nothing_is_written(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise AssertionError("a file for an upload")

    for name in ("SpooledTemporaryFile", "NamedTemporaryFile", "TemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    named = PNG | {"Content-Disposition": 'attachment; filename="../../etc/passwd"'}
    assert client.post("/api/predict", content=encoded(size=(2000, 2000)), headers=named).status_code == 200


def test_a_strangers_name_for_this_machine_is_not_answered(client: TestClient, student: ShippedStudent) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    everyone = TestClient(create_app(student, hosts=("*",)), base_url="http://lab.example")
    assert everyone.get("/").status_code == 200


def test_a_student_without_aspects_explains_nothing(trained: TrainedProject, tmp_path: Path) -> None:
    plain = load_shipped(export(trained.run(), tmp_path / "out", data=trained.data))
    client = local_client(plain)
    assert client.post("/api/explain", content=encoded(), headers=PNG).status_code == 404
    assert client.post("/api/predict", content=encoded(), headers=PNG).json()["aspects"] == []


def test_the_only_class_is_predicted_and_not_explained(student: ShippedStudent) -> None:
    client = local_client(knowing_one_class(student))
    refused = client.post("/api/explain", content=encoded(), headers=PNG)
    assert (refused.status_code, refused.json()["detail"][:28]) == (404, "this student knows one class")
    said = client.post("/api/predict", content=encoded(), headers=PNG).json()
    assert said["classes"] == [{"name": "auk", "probability": 1}]


def test_names_reach_the_pages_as_text(student: ShippedStudent) -> None:
    hostile = student.config.model_copy(update={"architecture": "<b>owl</b>"})
    client = local_client(replace(student, config=hostile))
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert "&lt;b&gt;owl" in page
        assert "<b>" not in page


def test_pages_need_no_network_and_run_no_other_script(client: TestClient) -> None:
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "://" not in answer.text.replace("http://127.0.0.1:8000", "")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-" if path == "/" else "default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    docs = client.get("/docs").text
    for path, of_path in client.get("/openapi.json").json()["paths"].items():
        assert all(f"{method.upper()} {path}" in docs for method in of_path)


PICTURES = st.sampled_from([encoded(kind) for kind in TYPES.values()] + [claims(9, 9), claims(2**31 - 1, 2**31 - 1)])
for name in TYPES:
    schemathesis.openapi.media_type(name, st.binary(max_size=200) | PICTURES)


OPERATIONS = [("/api/model", "GET"), ("/api/predict", "POST"), ("/api/explain", "POST")]


@pytest.fixture(scope="module")
def description(student: ShippedStudent) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(student, hosts=("*",)))


def test_every_operation_is_fuzzed(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert [(path, method.upper()) for path, of_path in paths.items() for method in of_path] == OPERATIONS


@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_sent_it_answers_as_it_says(
    description: Any, path: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    """Cases that fit the description, and cases that do not; not by schemathesis' plugin, which does not know pytest 9.

    Bytes that are no picture fit the description, too, and are refused.
    """
    try:
        cases = description[path][method].as_strategy(generation_mode=mode)

        @given(cases)
        @settings(
            max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        def ask(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        ask()
    except Unsatisfiable:
        assert path == "/api/model", "it takes nothing that could be wrong"
