"""A language model that replies in JSON, asked until its reply is usable."""

import math
import os
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, BaseModel, Field, ValidationError
from pydantic_core import from_json

from makd.chat_completion import NoLogprobs, as_recording
from makd.errors import UserError, first_problem
from makd.files import atomic_write, cache_dir, write_json
from makd.params import Block
from makd.recordings import (
    FirstToken,
    Message,
    NoRecording,
    RecordedLLM,
    Recording,
    Request,
    example_of,
    kept_path,
    one_line,
    read_recording,
)

if TYPE_CHECKING:
    from openai import OpenAI

OPENAI_URL = "https://api.openai.com/v1"
TOP_LOGPROBS = 20
"""First tokens whose probabilities are asked for: the most that OpenAI and vLLM give."""

R = TypeVar("R", bound=BaseModel)
T = TypeVar("T")


class LLMParams(Block):
    """The `llm:` block of params.yaml."""

    backend: Literal["recorded", "openai"]
    model: str = Field(min_length=1)
    base_url: AnyHttpUrl | None  # null: OpenAI's own
    temperature: float | None = Field(ge=0, le=2)  # null: not sent; some reasoning models refuse it
    max_attempts: int = Field(ge=1)
    timeout_s: float = Field(gt=0)


@runtime_checkable
class LLM(Protocol):
    """A language model."""

    def reply(self, request: Request) -> str:
        """The text of the model's reply.

        Raises:
            UserError: there is none to be had; the message says why and what to do.
        """
        ...


def open_llm(params: LLMParams, recordings: Path, *, quiet: bool = False) -> LLM:
    """The back-end that `params` names; `recordings` is the folder of recorded replies."""
    return RecordedLLM(recordings) if params.backend == "recorded" else OpenAILLM(params, quiet=quiet)


class OpenAILLM:
    """Asks an OpenAI-compatible server, and keeps every reply: the same request is never paid twice."""

    def __init__(self, params: LLMParams, *, quiet: bool = False) -> None:
        """Unless it is `quiet`, there is a line for each request."""
        self.params = params
        self.quiet = quiet
        # Never OPENAI_BASE_URL: params.yaml says where a result comes from.
        self.url = str(params.base_url or OPENAI_URL)

    @cached_property
    def client(self) -> "OpenAI":
        import openai

        # Its own two retries (timeouts, refused connections, 408, 409, 429, 5xx) are enough: what was paid is kept.
        return openai.OpenAI(base_url=self.url, api_key=api_key(self.url), timeout=self.params.timeout_s)

    def reply(self, request: Request) -> str:
        path = kept_path(request)
        if path.exists():
            kept = read_recording(path)
            self.say(f"{path} has the reply to {request} {kept.note}")
        else:
            self.say(f"asking {request.model} at {self.url} {request}")
            kept = self.ask_server(request)
            write_json(kept.model_dump(), path)
        return kept.text

    def say(self, line: str) -> None:
        if not self.quiet:
            print(f"llm: {line}", file=sys.stderr, flush=True)

    def ask_server(self, request: Request) -> Recording:
        import openai

        key = api_key(self.url)
        schema = {"name": request.reply_schema["title"], "strict": True, "schema": request.reply_schema}
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [message.model_dump() for message in request.messages],
        }
        if request.first_token:
            body |= {"max_completion_tokens": 1, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
        else:
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.temperature is not None:
            body["temperature"] = request.temperature
        try:
            # Raw, because the client passes on a web page (base_url without /v1) or an error with status 200 unchecked.
            text = self.client.chat.completions.with_raw_response.create(**body).http_response.text
            return as_recording(request, text, f"from {self.url}")
        except ValidationError:
            path = save_failed(request, text.replace(key, "$OPENAI_API_KEY"))
            came, advice = f"no chat completion (see {path})", "check llm.base_url, which usually ends in /v1"
        except NoLogprobs:
            came, advice = "no logprobs", "set extract_logits.class_answers: graded, or ask a server that gives them"
        except openai.APIError as error:
            came, advice = what_came(error), what_to_do(error)
        came = one_line(came.replace(key, "$OPENAI_API_KEY"), 300)
        raise UserError(f"asked {request.model} at {self.url} {request}, got: {came}; {advice}")


def api_key(url: str) -> str:
    """The key in the environment; a server that is not OpenAI's mostly wants none, but the client must send one."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    host = urlsplit(url).hostname or ""
    if not key and f".{host}".endswith(".openai.com"):
        raise UserError(
            f"OPENAI_API_KEY is not set, and {url} needs it; set it in the environment, or llm.base_url to a server of "
            "your own, or llm.backend: recorded in params.yaml"
        )
    return key or "no-key"


def what_came(error: Exception) -> str:
    """One line; the client hides the reason of a failed connection in the cause."""
    import openai

    return f"{error} {error.__cause__}" if isinstance(error, openai.APIConnectionError) else str(error)


def what_to_do(error: Exception) -> str:
    import openai

    match error:
        case openai.APITimeoutError():
            return "raise llm.timeout_s, or see what the server is busy with"
        case openai.APIConnectionError():
            return "check llm.base_url and that the server runs"
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return "check OPENAI_API_KEY"
        case openai.NotFoundError():
            return "check llm.model and llm.base_url, which usually ends in /v1"
        case openai.RateLimitError() | openai.InternalServerError():
            return "run it again later; the replies so far are kept"
        case _:
            return "check llm.model and llm.temperature (null: not sent)"


class BadReply(Exception):
    """A reply that cannot be used."""

    def __init__(self, wrong: str, instead: str = "Reply again with the whole JSON object and nothing else.") -> None:
        """`wrong` completes "The reply ..." and serves the model and the user; `instead` tells the model what to do."""
        super().__init__(wrong)
        self.instead = instead


class Unfinished(BadReply):
    """A reply that brought a part of what was asked for; going on from there costs no attempt."""


def first_token(llm: LLM, params: LLMParams, messages: list[Message]) -> dict[str, float]:
    """The probabilities of the likeliest first tokens of the model's reply, each in [0, 1]."""
    request = Request(
        model=params.model,
        temperature=params.temperature,
        messages=messages,
        reply_schema=FirstToken.model_json_schema(),
        first_token=True,
    )
    try:
        logprobs = parse(llm.reply(request), FirstToken).logprobs
    except BadReply as bad:  # written by hand: a server's cannot be bad
        raise UserError(f"the recorded reply to {request} {bad}; mend it") from None
    return {token: math.exp(min(logprob, 0.0)) for token, logprob in logprobs.items()}


def ask(llm: LLM, params: LLMParams, messages: list[Message], reply_model: type[R], read: Callable[[R], T]) -> T:
    """What `read` makes of the model's reply; a reply that it or `reply_model` refuses is asked again.

    Each time the conversation grows by the refused reply and by what was wrong with it, which makes it a new request.
    A `BadReply` of `read` is one of `params.max_attempts`; an `Unfinished` costs nothing, so there must be progress.

    Raises:
        UserError: no usable reply in all attempts; the message names what was wrong and where the last reply lies. A
            recorded reply is better mended than asked again, so it is named as soon as no recording follows it.
    """
    schema = reply_model.model_json_schema()
    attempts, to_mend = 0, ""
    while True:
        request = Request(model=params.model, temperature=params.temperature, messages=messages, reply_schema=schema)
        try:
            text = llm.reply(request)
        except NoRecording as none:
            if not to_mend:
                raise
            raise NoRecording(f"{to_mend}, or answer what would be asked next: {none.by_hand}", none.by_hand) from None
        try:
            return read(parse(text, reply_model))
        except BadReply as bad:
            attempts += not isinstance(bad, Unfinished)
            if isinstance(llm, RecordedLLM):
                to_mend = f"{llm.path(request)}: the reply {bad}; mend it there"
            if attempts == params.max_attempts:
                raise UserError(to_mend or give_up(request, text, bad, attempts)) from None
            again = Message(role="user", content=f"The reply {bad}. {bad.instead}")
            messages = [*messages, Message(role="assistant", content=text), again]


def parse(text: str, reply_model: type[R]) -> R:
    """The JSON object in `text` as a `reply_model`.

    Local servers think aloud first, put a fence around the object, talk before and after it, and cut it off at their
    limit of tokens; what is whole in a cut list is taken, and `read` sees whether that is enough.
    """
    text = text.rpartition("</think>")[2]
    try:
        found = from_json(text[max(text.find("{"), 0) :], allow_partial=True)
    except ValueError as error:
        raise BadReply(f"is no JSON object ({error})") from None
    if not isinstance(found, dict):
        raise BadReply(f"is no JSON object like {example_of(reply_model.model_json_schema())}")
    try:
        return reply_model.model_validate(found)
    except ValidationError as error:
        raise BadReply(f"does not fit the schema ({first_problem(error)})") from None


def give_up(request: Request, text: str, bad: BadReply, attempts: int) -> str:
    return (
        f"{request.model} gave no usable reply (llm.max_attempts: {attempts}); the last one {bad}, and lies in "
        f"{save_failed(request, text)}; change the prompt, llm.model or llm.max_attempts, or delete "
        f"{kept_path(request)}, if it exists, to ask once more"
    )


def save_failed(request: Request, text: str) -> Path:
    path = cache_dir() / "llm" / f"failed-{request.id}.txt"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
