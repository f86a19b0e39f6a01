import json
from pathlib import Path
from typing import Any

import pytest

from makd.errors import UserError
from makd.files import write_json
from makd.recordings import Message, RecordedLLM, Request, one_line, read_recording


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "model": "tiny",
        "temperature": 0.0,
        "messages": [Message(role="user", content="Name a colour that no bird has.")],
        "reply_schema": {"title": "Colour", "type": "object"},
    }
    return Request(**(values | changes))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "llm"


def record(folder: Path, written: object, **changes: Any) -> Path:
    path = folder / f"{request().id}.json"
    values = {"request": request().model_dump(), "reply": written, "written_by": "tiny-1.0", "note": "by a test"}
    write_json(values | changes, path)
    return path


def test_the_id_of_a_request_never_changes() -> None:
    assert request().id == "cec29009cf5a818d"


@pytest.mark.parametrize(
    "change",
    [
        {"model": "large"},
        {"temperature": 0.1},
        {"temperature": None},
        {"messages": [Message(role="system", content="Name a colour that no bird has.")]},
        {"messages": []},
        {"reply_schema": {"title": "Colour", "type": "array"}},
    ],
)
def test_the_id_of_a_request_depends_on_all_that_determines_the_reply(change: dict[str, Any]) -> None:
    assert request(**change).id != request().id


def test_a_recorded_reply_is_replayed_to_the_letter(tmp_path: Path) -> None:
    record(tmp_path, '<think>hm</think>\n{"colour":  "ultraviolet"}')
    assert RecordedLLM(tmp_path).reply(request()) == '<think>hm</think>\n{"colour":  "ultraviolet"}'


def test_a_reply_written_by_hand_may_be_the_json_itself(tmp_path: Path) -> None:
    record(tmp_path, {"colour": "café"})
    assert RecordedLLM(tmp_path).reply(request()) == '{"colour": "café"}'


def test_an_unknown_request_is_one_line_that_says_how_to_go_on(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError) as error:
        RecordedLLM(tmp_path / "recordings").reply(request())
    for part in (
        '"Name a colour that no bird has."',
        request().id,
        "set llm.backend: openai in params.yaml (needs OPENAI_API_KEY or llm.base_url)",
        str(cache / f"{request().id}.request.json"),
        str(tmp_path / "recordings" / f"{request().id}.json"),
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_request_is_saved_as_a_recording_without_reply(tmp_path: Path, cache: Path) -> None:
    recorded = RecordedLLM(tmp_path)
    with pytest.raises(UserError):
        recorded.reply(request())
    (blank,) = cache.iterdir()
    form = json.loads(blank.read_text())
    assert (form["reply"], form["written_by"]) == (None, "")
    write_json(form | {"reply": {"colour": "infrared"}, "written_by": "a test"}, tmp_path / f"{request().id}.json")
    assert recorded.reply(request()) == '{"colour": "infrared"}'


def test_a_recording_that_git_does_not_track_is_missing_in_a_copy_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC makes such a copy for `dvc exp run --queue` and `--temp`, and names the main checkout in DVC_ROOT."""
    folder = Path("data/recordings")
    record(tmp_path / "main" / folder, "red")
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    with pytest.raises(UserError, match=rf"{folder}/{request().id}\.json is not in this copy.*git add and commit it"):
        RecordedLLM(folder).reply(request())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"messages": [Message(role="user", content="Name 21 of 300 colours.")]}, "20 of, here 21 of"),
        ({"model": "large"}, r"is a reply of tiny at temperature 0\.0 to the same messages"),
    ],
)
def test_an_unknown_request_names_the_recording_of_nearly_the_same(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    known = request(messages=[Message(role="user", content="Name 20 of 300 colours.")])
    path = tmp_path / f"{known.id}.json"
    write_json({"request": known.model_dump(), "reply": "red", "written_by": "tiny"}, path)
    (tmp_path / "0.json").write_text("broken")
    with pytest.raises(UserError, match=f"{path}.*{said}"):
        RecordedLLM(tmp_path).reply(known.model_copy(update=changes))
    with pytest.raises(UserError) as error:
        RecordedLLM(tmp_path).reply(request())
    assert str(path) not in str(error.value)


def test_a_recording_of_another_request_is_named(tmp_path: Path) -> None:
    edited = record(tmp_path, "red", request=request(model="large").model_dump())
    with pytest.raises(UserError, match=f"{edited} holds request {request(model='large').id}"):
        RecordedLLM(tmp_path).reply(request())


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"reply": None}, "reply: got null, expected an object like"),
        ({"written_by": " "}, "written_by: .*say who wrote the reply"),
        ({"when": "today"}, "when"),
        ({"request": {}}, "request.model"),
    ],
)
def test_a_file_that_is_no_recording_is_named_with_the_bad_key(
    tmp_path: Path, change: dict[str, Any], wrong: str
) -> None:
    path = record(tmp_path, "red", **change)
    with pytest.raises(UserError, match=f"{path} is no recording of a reply: {wrong}"):
        read_recording(path)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("<<<<<<< HEAD")
    with pytest.raises(UserError, match=f"{path} is no recording"):
        read_recording(path)


def test_one_line_shortens_text_without_spaces_too() -> None:
    assert one_line(" a\n b ", 3) == "a b"
    assert one_line("abcdef", 3) == "abc ..."
