import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from makd.errors import UserError
from makd.llm import BadReply, LLMParams, OpenAILLM, Unfinished, ask, open_llm, parse
from makd.recordings import Message, RecordedLLM, Request
from tests.fake_server import Server, serving

KEY = "sk-secret-of-the-test"
MESSAGES = [
    Message(role="system", content="You name colours."),
    Message(role="user", content="Name three colours."),
]


class Colours(BaseModel):
    model_config = ConfigDict(extra="forbid")

    colours: list[str]


def three_colours(reply: Colours) -> list[str]:
    if len(reply.colours) != 3:
        raise BadReply(f"holds {len(reply.colours)} of 3 colours")
    return reply.colours


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "llm"


def llm_params(server: Server | None = None, **changes: Any) -> LLMParams:
    values: dict[str, Any] = {
        "backend": "openai",
        "model": "tiny",
        "base_url": server and server.url,
        "temperature": 0.0,
        "max_attempts": 3,
        "timeout_s": 5,
    }
    return LLMParams(**(values | changes))


def ask_colours(params: LLMParams) -> list[str]:
    return ask(open_llm(params, Path("no/recordings")), params, MESSAGES, Colours, three_colours)


def colours(*names: str) -> str:
    return json.dumps({"colours": names})


GOOD = colours("red", "green", "blue")


def test_a_request_carries_model_messages_temperature_and_schema(server: Server) -> None:
    server.says(GOOD)
    assert ask_colours(llm_params(server, temperature=0.5)) == ["red", "green", "blue"]
    (asked,) = server.asked
    assert asked["model"] == "tiny"
    assert asked["temperature"] == 0.5
    assert asked["messages"] == [message.model_dump() for message in MESSAGES]
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"]["schema"] == Colours.model_json_schema()


def test_null_temperature_is_not_sent(server: Server) -> None:
    server.says(GOOD)
    ask_colours(llm_params(server, temperature=None))
    assert "temperature" not in server.asked[0]


def test_the_same_request_is_sent_once(server: Server, cache: Path) -> None:
    server.says(GOOD)
    assert ask_colours(llm_params(server)) == ask_colours(llm_params(server))
    assert len(server.asked) == 1
    (kept,) = cache.iterdir()
    recording = json.loads(kept.read_text())
    assert recording["reply"] == GOOD
    assert recording["written_by"] == "tiny-1.0"
    assert server.url in recording["note"]


def test_a_kept_reply_is_a_recording(server: Server, cache: Path) -> None:
    server.says(GOOD)
    ask_colours(llm_params(server))
    recorded = llm_params(backend="recorded")
    assert ask(open_llm(recorded, cache), recorded, MESSAGES, Colours, three_colours) == ["red", "green", "blue"]


def test_a_recorded_reply_that_is_refused_is_to_be_mended(server: Server, cache: Path, tmp_path: Path) -> None:
    server.says(colours("red"), colours("red", "green"))
    with pytest.raises(UserError):
        ask_colours(llm_params(server, max_attempts=1))
    (kept,) = cache.glob("*[0-9a-f].json")
    recorded = llm_params(backend="recorded")
    with pytest.raises(
        UserError, match=f"^{kept}: the reply holds 1 of 3 colours; mend it there, or answer what would"
    ):
        ask(open_llm(recorded, cache), recorded, MESSAGES, Colours, three_colours)


def test_a_malformed_reply_is_asked_again_with_what_was_wrong(server: Server) -> None:
    server.says("Red, green and blue.", colours("red"), GOOD)
    assert ask_colours(llm_params(server)) == ["red", "green", "blue"]
    assert [len(asked["messages"]) for asked in server.asked] == [2, 4, 6]
    assert server.asked[1]["messages"][2] == {"role": "assistant", "content": "Red, green and blue."}
    assert "is no JSON object" in server.asked[1]["messages"][3]["content"]
    assert "holds 1 of 3 colours" in server.asked[2]["messages"][5]["content"]


def test_a_reply_that_stays_bad_ends_with_one_line_and_is_saved(server: Server, cache: Path) -> None:
    server.says(colours("red"), colours("red", "green"))
    with pytest.raises(UserError) as error:
        ask_colours(llm_params(server, max_attempts=2))
    (failed,) = cache.glob("failed-*.txt")
    assert failed.read_text() == colours("red", "green")
    assert str(failed) in str(error.value)
    assert "no usable reply (llm.max_attempts: 2)" in str(error.value)
    assert "holds 2 of 3 colours" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.asked) == 2


def test_paid_replies_are_kept_though_they_were_bad(server: Server) -> None:
    server.says(colours("red"), colours("red", "green"), GOOD)
    with pytest.raises(UserError):
        ask_colours(llm_params(server, max_attempts=2))
    assert ask_colours(llm_params(server, max_attempts=3)) == ["red", "green", "blue"]
    assert len(server.asked) == 3


def test_progress_costs_no_attempt(server: Server) -> None:
    server.says(colours("red"), colours("green"), "no idea", colours("blue"))
    found: list[str] = []

    def gather(reply: Colours) -> list[str]:
        found.extend(reply.colours)
        if len(found) < 3:
            raise Unfinished(f"makes {len(found)} of 3", "Name the rest.")
        return found

    params = llm_params(server, max_attempts=2)
    assert ask(OpenAILLM(params), params, MESSAGES, Colours, gather) == ["red", "green", "blue"]
    assert server.asked[1]["messages"][3]["content"] == "The reply makes 1 of 3. Name the rest."


def test_a_server_error_is_tried_again(server: Server) -> None:
    server.answers.append((500, "{}"))
    server.says(GOOD)
    assert ask_colours(llm_params(server)) == ["red", "green", "blue"]
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "OPENAI_API_KEY"), (404, "llm.model"), (400, "llm.temperature"), (429, "later"), (500, "later")],
)
def test_a_refusal_is_one_line_with_url_answer_and_advice(
    server: Server, cache: Path, status: int, advice: str
) -> None:
    server.answers.append((status, json.dumps({"error": {"message": f"will not,\nnot with {KEY}"}})))
    with pytest.raises(UserError) as error:
        ask_colours(llm_params(server))
    for part in ("tiny", server.url, "Name three colours.", str(status), "will not", advice):
        assert part in str(error.value)
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    assert not cache.exists()


@pytest.mark.parametrize("body", ["<html>Hello!</html>", '{"error": "out of memory"}', '{"choices": []}'])
def test_an_answer_that_is_no_completion_is_saved_and_named(server: Server, cache: Path, body: str) -> None:
    server.answers.append((200, body))
    with pytest.raises(UserError, match=r"no chat completion.*/v1") as error:
        ask_colours(llm_params(server))
    (failed,) = cache.iterdir()
    assert failed.read_text() == body
    assert str(failed) in str(error.value)


def test_a_slow_server_is_a_time_out(server: Server) -> None:
    server.says(GOOD)
    server.delay_s = 0.3
    with pytest.raises(UserError, match=r"timed out.*llm\.timeout_s"):
        ask_colours(llm_params(server, timeout_s=0.05))


def test_no_server_is_a_refused_connection(server: Server) -> None:
    url = server.url
    server.server_close()
    with pytest.raises(UserError, match=r"refused.*llm\.base_url") as error:
        ask_colours(llm_params(base_url=url))
    assert url in str(error.value)


def test_the_key_comes_from_the_environment_and_reaches_no_file(server: Server, tmp_path: Path) -> None:
    server.says(GOOD, f"no JSON, but {GOOD[:5]}", "<html>")
    server.answers[-1] = (200, f"<html>{KEY}</html>")
    ask_colours(llm_params(server))
    with pytest.raises(UserError):
        ask_colours(llm_params(server, model="other"))
    assert server.authorization == [f"Bearer {KEY}"] * 3
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert not [path for path in files if KEY in path.read_text()]


def test_a_missing_key_is_one_line_for_openai_and_fine_elsewhere(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        ask_colours(llm_params(base_url=None))
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        ask_colours(llm_params(base_url="https://eu.api.openai.com/v1"))
    server.says(GOOD)
    assert ask_colours(llm_params(server)) == ["red", "green", "blue"]


def test_the_environment_does_not_redirect_requests(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert OpenAILLM(llm_params(base_url=None)).url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"<think>{{red? green?}}</think>\n{GOOD}",
        f"Let me think.</think>```\n{GOOD}\n```\n",
        f"Here they are: {GOOD} I hope that {{this}} helps.",
        GOOD[:-2],
        GOOD[:-2] + ', "yel',
    ],
)
def test_the_object_is_found_in_what_local_servers_put_around_it(text: str) -> None:
    assert parse(text, Colours).colours == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is no JSON object"),
        ("red", "is no JSON object"),
        ("{", "colours: Field required"),
        ('["red"]', r'is no JSON object like {"colours": \["\.\.\."\]}'),
        ('{"colours": [1]}', "colours.0: Input should be a valid string"),
        ('{"colours": [], "more": 1}', "more: Extra inputs"),
    ],
)
def test_a_reply_off_the_schema_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(BadReply, match=wrong):
        parse(text, Colours)


@pytest.mark.parametrize(
    "change",
    [
        {"backend": "magic"},
        {"model": ""},
        {"base_url": "localhost:8000"},
        {"base_url": "http://localhost:99999/v1"},
        {"temperature": -1},
        {"max_attempts": 0},
        {"timeout_s": 0},
        {"api_key": "sk-1"},
    ],
)
def test_bad_params_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        llm_params(**change)


def test_params_name_the_back_end(tmp_path: Path) -> None:
    assert isinstance(open_llm(llm_params(backend="recorded"), tmp_path), RecordedLLM)
    assert isinstance(open_llm(llm_params(), tmp_path), OpenAILLM)


def test_a_fake_of_one_method_is_a_language_model() -> None:
    class Fake:
        def reply(self, request: Request) -> str:
            return GOOD

    assert ask(Fake(), llm_params(), MESSAGES, Colours, three_colours) == ["red", "green", "blue"]
