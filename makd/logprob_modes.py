"""How a server is made to tell the log-probabilities of the two answers; the first way that works is the best.

    sglang              SGLang's own /generate with token_ids_logprob: both
    token_ids           vLLM of July 2026 and later (vllm-project/vllm#43463), logprob_token_ids: both
    allowed_token_ids   older vLLM: two requests, in each of which one answer alone may be sampled: both
    top_k               any other: the likeliest tokens, among which an answer may be missing (makd/first_token.py)

Servers pass over fields that they do not know, so what came back is looked at every time, not only at the start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from makd.first_token import FirstToken, Malformed, among_top, described, exact, top_of
from makd.server_params import ServerParams

CHAT = "/chat/completions"
GENERATE = "//generate"
"""From the server's root, not below /v1."""
NEUTRAL: dict[str, Any] = {"repetition_penalty": 1.0, "repeat_penalty": 1.0}
"""No penalty for the words of the prompt, in the spelling of vLLM and SGLang, and of llama.cpp; OpenAI has neither."""
SAMPLED_APART = 1e-3
"""Nats by which the log-probability of the sampled token may differ where it is told twice."""
Body = dict[str, Any]


@dataclass
class Asking:
    """What all modes need to put a question.

    Attributes:
        extra: fields that go into each request besides the usual ones.
    """

    model: str
    messages: Sequence[str]
    answers: tuple[str, str]
    params: ServerParams
    ids: tuple[int, int] | None
    prompts: Sequence[str] | None
    extra: dict[str, Any] = field(default_factory=lambda: dict(NEUTRAL))

    def chat(self, image: str, message: str, **fields: Any) -> Body:
        """One token about a picture: image first, question last, so that what questions share is as long as possible.

        Args:
            image: a data URL, the same bytes each time: servers know a picture again by them.
            message: what the user says.
            fields: of the mode.
        """
        content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": message}]
        limit = "max_completion_tokens" if self.params.is_openai else "max_tokens"
        body: Body = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        return body | {limit: 1, "temperature": 0, "logprobs": True} | fields | self.extra


@runtime_checkable
class Mode(Protocol):
    """A way to ask."""

    name: str
    path: str

    def bodies(self, image: str, question: int) -> list[Body]:
        """The requests about one picture (a data URL) and one question (its number)."""
        ...

    def read(self, replies: Sequence[Mapping[str, Any]]) -> FirstToken:
        """What the replies to `bodies` say.

        Raises:
            Malformed: the server did not do as it was asked.
        """
        ...


class TopK:
    """The likeliest tokens; the answers are found by their words, or as ids where the server writes those."""

    name, path = "top_k", CHAT

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.spellings = [
            [word, *([] if asking.ids is None else [spelled(asking.ids[k])])] for k, word in enumerate(asking.answers)
        ]

    def bodies(self, image: str, question: int) -> list[Body]:
        asking = self.asking
        return [asking.chat(image, asking.messages[question], top_logprobs=asking.params.top_logprobs)]

    def read(self, replies: Sequence[Mapping[str, Any]]) -> FirstToken:
        return among_top(top_of(replies[0])[1], *self.spellings)


class ByIds:
    """A mode that needs the ids of the two answers."""

    def __init__(self, asking: Asking) -> None:
        assert asking.ids is not None
        self.asking, self.ids = asking, asking.ids


class TokenIds(ByIds):
    """Both answers by their ids, in one request."""

    name, path = "token_ids", CHAT

    def bodies(self, image: str, question: int) -> list[Body]:
        fields = {"logprob_token_ids": list(self.ids), "return_tokens_as_token_ids": True}
        return [self.asking.chat(image, self.asking.messages[question], **fields)]

    def read(self, replies: Sequence[Mapping[str, Any]]) -> FirstToken:
        (sampled, logprob), likeliest = top_of(replies[0])
        top = dict(likeliest)
        if abs(top.get(sampled, logprob) - logprob) > SAMPLED_APART:
            raise Malformed(f"{top[sampled]} in the table for the sampled token {sampled!r}, and {logprob} beside it")
        try:
            z_yes, z_no = (top[spelled(token_id)] for token_id in self.ids)
        except KeyError:
            raise Malformed(f"other tokens than the ids {list(self.ids)} that logprob_token_ids names") from None
        return exact(z_yes, z_no)


class AllowedTokenIds(ByIds):
    """One answer a request: the token that alone is allowed is sampled, and its raw log-probability is told."""

    name, path = "allowed_token_ids", CHAT

    def bodies(self, image: str, question: int) -> list[Body]:
        message = self.asking.messages[question]
        fields = {"return_tokens_as_token_ids": True, "top_logprobs": 0}
        return [self.asking.chat(image, message, allowed_token_ids=[one], **fields) for one in self.ids]

    def read(self, replies: Sequence[Mapping[str, Any]]) -> FirstToken:
        z = []
        for reply, token_id in zip(replies, self.ids, strict=True):
            (token, logprob), _ = top_of(reply)
            if token != spelled(token_id):
                raise Malformed(f"the token {token!r}, where allowed_token_ids allows {token_id} alone")
            z.append(logprob)
        return exact(*z)  # processed_logprobs gives 0 for both, which is no distribution


class SGLang(ByIds):
    """SGLang's own endpoint; it wants the whole prompt, with the model's placeholder for the picture."""

    name, path = "sglang", GENERATE

    def __init__(self, asking: Asking) -> None:
        super().__init__(asking)
        assert asking.prompts is not None
        self.prompts = asking.prompts

    def bodies(self, image: str, question: int) -> list[Body]:
        sampling = {"max_new_tokens": 1, "temperature": 0} | {
            name: value for name, value in self.asking.extra.items() if name != "repeat_penalty"
        }
        body: Body = {"text": self.prompts[question], "image_data": image, "sampling_params": sampling}
        return [body | {"return_logprob": True, "token_ids_logprob": list(self.ids)}]

    def read(self, replies: Sequence[Mapping[str, Any]]) -> FirstToken:
        try:
            told = replies[0]["meta_info"]["output_token_ids_logprobs"][0]
            z = {int(one[1]): float(one[0]) for one in told}
            return exact(z[self.ids[0]], z[self.ids[1]])
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            raise Malformed(described(replies[0])) from None


def spelled(token_id: int) -> str:
    """As vLLM writes a token with return_tokens_as_token_ids."""
    return f"token_id:{token_id}"


def modes(asking: Asking, *, is_sglang: bool) -> list[Mode]:
    """Those that can be tried with what is known, the best first.

    Args:
        asking: without ids, `top_k` is all there is; without prompts there is no `sglang`.
        is_sglang: the server has SGLang's own endpoints.
    """
    found: list[Mode] = []
    if asking.ids is not None:
        if is_sglang and asking.prompts is not None:
            found.append(SGLang(asking))
        found += [TokenIds(asking), AllowedTokenIds(asking)]
    return [*found, TopK(asking)]
