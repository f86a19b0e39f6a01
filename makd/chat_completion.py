"""What an OpenAI-compatible server sends back: its JSON, as the reply that is kept."""

from typing import Any

from pydantic import BaseModel, Field

from makd.recordings import Recording, Request


class NoLogprobs(Exception):
    """The server tells no probabilities."""


class Said(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Candidate(BaseModel):
    token: str
    logprob: float


class Token(BaseModel):
    top_logprobs: list[Candidate]


class Logprobs(BaseModel):
    content: list[Token] | None = None


class Choice(BaseModel):
    message: Said
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Completion(BaseModel):
    """The part of a chat completion that we read; servers differ in the rest."""

    model: str | None = None
    choices: list[Choice] = Field(min_length=1)


def as_recording(request: Request, completion: str, note: str) -> Recording:
    """The reply in the JSON of a chat completion.

    Raises:
        ValidationError: there is none.
        NoLogprobs: they are wanted, and it has none.
    """
    parsed = Completion.model_validate_json(completion)
    choice = parsed.choices[0]
    said: str | dict[str, Any] = choice.message.content or choice.message.refusal or ""
    if request.first_token:
        tokens = choice.logprobs and choice.logprobs.content
        if not tokens or not tokens[0].top_logprobs:
            raise NoLogprobs
        likeliest = sorted(tokens[0].top_logprobs, key=lambda one: one.logprob)  # of equal tokens the likelier stays
        said = {"logprobs": {one.token: one.logprob for one in likeliest}}
    return Recording(
        request=request,
        reply=said,
        written_by=parsed.model or request.model,
        note=f"{note}, finish_reason: {choice.finish_reason}",
    )
