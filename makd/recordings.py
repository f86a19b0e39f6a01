"""Requests to a language model and the replies they got: what is kept, replayed and written by hand.

A request is known by the hash of all that determines the reply: model, temperature, messages, schema of the reply, and
whether the probabilities of its first token are wanted instead.
Paid replies are kept as <hash>.json in the `llm` folder of `makd.files.cache_dir()`; the same file in data/recordings
is a recording, which needs no server and no key. To write one by hand (no network, or another program's reply): the
error for a request without a recording names a <hash>.request.json; fill in its `reply`, the JSON object that the
last message asks for, and `written_by`, and save it as data/recordings/<hash>.json.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from makd.errors import UserError, first_problem
from makd.files import cache_dir, main_checkout, write_json

EXAMPLE_ITEMS: dict[str, list[Any]] = {"string": ["..."], "integer": [2, 1, 3]}
NUMBER = re.compile(r"\d+")


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Request(BaseModel):
    """All that determines a reply. Where the model runs does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    temperature: float | None
    messages: list[Message]
    reply_schema: dict[str, Any]
    first_token: bool = False  # the reply is a `FirstToken`, not what the model goes on to say

    @property
    def id(self) -> str:
        content = self.model_dump(exclude_defaults=True)  # so that what was kept before first_token was is still found
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """For people: how the last message begins, and the id."""
        return f'"{one_line(self.messages[-1].content, 70)}" (request {self.id})'


class FirstToken(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    logprobs: dict[str, float]  # natural logarithms of the probabilities of the likeliest first tokens


class Recording(BaseModel):
    """A request with the reply that it got, as a JSON file named <request id>.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Request
    reply: str | dict[str, Any]  # what the model wrote, to the letter; by hand the JSON object itself is easier
    written_by: str  # the model as the server names it, often more precise than the request's; or a person
    note: str = ""

    @field_validator("reply", mode="before")
    @classmethod
    def check_reply(cls, reply: Any, info: Any) -> Any:  # info is a ValidationInfo, which beartype cannot check
        if isinstance(reply, str | dict):
            return reply
        request = info.data.get("request")
        like = example_of(request.reply_schema) if request else "{...}"
        got = one_line(json.dumps(reply, ensure_ascii=False), 60)
        raise PydanticCustomError("reply", "got {got}, expected an object like {like}", {"got": got, "like": like})

    @field_validator("written_by")
    @classmethod
    def check_written_by(cls, name: str) -> str:
        if not name.strip():
            raise PydanticCustomError("written_by", "it is empty; say who wrote the reply, a model or a person")
        return name

    @property
    def text(self) -> str:
        return self.reply if isinstance(self.reply, str) else json.dumps(self.reply, ensure_ascii=False)


def read_recording(path: Path) -> Recording:
    """The recording in `path`.

    Raises:
        UserError: it is no recording, or of another request than its name says (renamed, or the request was edited).
    """
    try:
        recording = Recording.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is no recording of a reply: {first_problem(error)}; mend or delete it") from None
    if recording.request.id != path.stem:
        raise UserError(
            f"{path} holds request {recording.request.id}, not the one in its name: renamed, or edited after it was "
            "recorded; bring the original back or delete it"
        )
    return recording


def example_of(schema: dict[str, Any]) -> str:
    """A reply of lists as `schema` wants it, such as {"questions": ["..."]}."""
    lists = schema.get("properties", {}).items()
    return json.dumps({name: EXAMPLE_ITEMS.get(part.get("items", {}).get("type"), []) for name, part in lists})


def one_line(text: str, n_chars: int) -> str:
    """The beginning of `text`, white space collapsed."""
    text = " ".join(text.split())
    return text if len(text) <= n_chars else text[:n_chars] + " ..."


def kept_path(request: Request, suffix: str = ".json") -> Path:
    return cache_dir() / "llm" / f"{request.id}{suffix}"


class NoRecording(UserError):
    """Nobody has recorded a reply to this request; `by_hand` says how to write one."""

    def __init__(self, message: str, by_hand: str) -> None:
        super().__init__(message)
        self.by_hand = by_hand


class RecordedLLM:
    """Replays a folder of recordings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, request: Request) -> Path:
        return self.folder / f"{request.id}.json"

    def reply(self, request: Request) -> str:
        """The recorded reply; without one, the request is saved as a form to fill in."""
        path = self.path(request)
        if path.exists():
            return read_recording(path).text
        if (main_checkout() / path).exists():  # we run in a copy that DVC made of what git knows
            raise UserError(
                f"{path} is not in this copy of the project, for git does not track it: git add and commit it"
            )
        blank = kept_path(request, ".request.json")
        write_json({"request": request.model_dump(), "reply": None, "written_by": "", "note": ""}, blank)
        by_hand = f"fill in `reply` and `written_by` in {blank} and save it as {path}"
        raise NoRecording(
            f"{self.folder} has no reply of {request.model} to {request}; {self.near_miss(request)}set llm.backend: "
            f"openai in params.yaml (needs OPENAI_API_KEY or llm.base_url); a reply kept in {blank.parent} becomes a "
            f"recording by copying it to {self.folder}; to write one by hand, {by_hand}",
            by_hand,
        )

    def near_miss(self, request: Request) -> str:
        """Names a recording of the same messages, but for numbers: of images, or of questions."""
        asked = all_messages(request)
        for path in sorted(self.folder.glob("*.json")):
            try:
                other = read_recording(path).request
            except UserError:
                continue  # said when it is used
            recorded = all_messages(other)
            if recorded == asked:
                return f"{path} is a reply of {other.model} at temperature {other.temperature} to the same messages; "
            if NUMBER.sub("#", recorded) == NUMBER.sub("#", asked):
                differing = differing_numbers(recorded, asked)
                return f"{path} differs in numbers alone ({differing}), so its `reply` may do here too; "
        return ""


def all_messages(request: Request) -> str:
    return "\n".join(f"{message.role}: {message.content}" for message in request.messages)


def differing_numbers(recorded: str, asked: str) -> str:
    """Such as "2900 images, here 2901 images", at most three of them; the texts must be equal but for numbers."""
    with_word = re.compile(rf"{NUMBER.pattern}(?: \w+)?")
    pairs = zip(with_word.findall(recorded), with_word.findall(asked), strict=True)
    differing = dict.fromkeys(f"{there}, here {here}" for there, here in pairs if there != here)
    return "; ".join(list(differing)[:3])
