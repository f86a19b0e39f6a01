"""Requests to a language model and the replies they got: what is kept, replayed and written by hand.

A request is known by the hash of all that determines the reply: model, temperature, messages, schema of the reply.
Paid replies are kept as <hash>.json in the `llm` folder of `makd.files.cache_dir()`; the same file in data/recordings
is a recording, which needs no server and no key. To write one by hand (no network, or another program's reply): the
error for a request without a recording names a <hash>.request.json; fill in its `reply`, the JSON object that the
last message asks for, and save it as data/recordings/<hash>.json.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from makd.errors import UserError
from makd.files import cache_dir, write_json


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

    @property
    def id(self) -> str:
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """For people: how the last message begins, and the id."""
        return f'"{one_line(self.messages[-1].content, 70)}" (request {self.id})'


class Recording(BaseModel):
    """A request with the reply that it got, as a JSON file named <request id>.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Request
    reply: str | dict[str, Any]  # what the model wrote, to the letter; by hand the JSON object itself is easier
    written_by: str = Field(min_length=1)  # the model as the server names it, often more precise than the request's
    note: str = ""

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


def first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'the whole'}: {problem['msg']}"


def one_line(text: str, n_chars: int) -> str:
    """The beginning of `text`, white space collapsed."""
    text = " ".join(text.split())
    return text if len(text) <= n_chars else text[:n_chars] + " ..."


def kept_path(request: Request, suffix: str = ".json") -> Path:
    return cache_dir() / "llm" / f"{request.id}{suffix}"


class RecordedLLM:
    """Replays a folder of recordings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reply(self, request: Request) -> str:
        path = self.folder / f"{request.id}.json"
        if path.exists():
            return read_recording(path).text
        blank = kept_path(request, ".request.json")
        write_json({"request": request.model_dump(), "reply": None, "written_by": request.model, "note": ""}, blank)
        raise UserError(
            f"{self.folder} has no reply of {request.model} to {request}; set llm.backend: openai in params.yaml "
            f"(needs OPENAI_API_KEY or llm.base_url); a reply kept in {blank.parent} becomes a recording by copying it "
            f"to {self.folder}; to write one by hand, fill in `reply` in {blank} and save it as {path}"
        )
