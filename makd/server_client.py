"""Requests to a server that fails now and then: retried where that helps, never where it does not.

The `openai` client carries them; its own retries are off, for it waits eight seconds at most and knows no budget.
"""

import asyncio
import json
import os
import random
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from makd.errors import UserError
from makd.first_token import described
from makd.server_budget import Budget, Stopped
from makd.server_params import ServerParams

if TYPE_CHECKING:
    import openai

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
"""Of the waits that double from try to try."""
LONGEST_RETRY_AFTER_S = 600.0
"""A server that wants a longer pause has a quota by the hour or the day: then it is better to stop."""
HOPELESS = {
    401: "check OPENAI_API_KEY",
    402: "the account needs credit",
    403: "check OPENAI_API_KEY",
    404: "check extract_logits.model and base_url",
}
"""What no other question would change."""
WORTH_RETRYING = {408, 409, 425, 429}
"""And all of 500 and above."""


class Failed(Exception):
    """No answer this time: all tries failed, and a later run may have more luck."""


class Refused(Exception):
    """The server will not answer this, now or later (400, 413, 422 ...)."""


class ServerClient:
    """POST and GET of JSON.

    Args:
        params: the server, its limits, how patient to be.
        budget: shared by all who ask the same server.
    """

    def __init__(self, params: ServerParams, budget: Budget) -> None:
        self.params, self.budget = params, budget
        self.model: object = None  # as the first reply calls it
        self.url = str(params.base_url)
        parts = urlsplit(self.url)
        self.key = os.environ.get("OPENAI_API_KEY", "").strip()
        self.root = f"{parts.scheme}://{parts.netloc}"
        self.client = self.open(urlunsplit(parts._replace(query="")), dict(parse_qsl(parts.query)))

    def open(self, base_url: str, query: dict[str, str]) -> "openai.AsyncOpenAI":
        import openai

        if not self.key and self.params.is_openai:
            raise UserError(
                f"OPENAI_API_KEY is not set, and {self.url} needs it; set it in the environment, or "
                "extract_logits.server.base_url to a server of your own"
            )
        if not (self.key.isascii() and self.key.isprintable()):
            raise UserError("OPENAI_API_KEY holds characters that no key has, such as a line's end; set it anew")
        self.key = self.key or "no-key"
        return openai.AsyncOpenAI(
            base_url=base_url,
            api_key=self.key,
            timeout=self.params.timeout_s,
            max_retries=0,
            default_query=query,
            default_headers={"api-key": self.key} if ".azure." in self.root else None,
        )

    async def close(self) -> None:
        await self.client.close()

    async def get(self, path: str) -> dict[str, Any] | None:
        """From the server's root; None where there is no such thing. Asked once."""
        import openai

        try:
            response = await self.client.get(self.root + path, cast_to=bytes)
            found = json.loads(response)
        except (openai.APIError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    async def is_sglang(self) -> bool:
        """Whether the server has SGLang's own endpoints, under their former or their present name."""
        return any([await self.get(path) is not None for path in ("/get_model_info", "/model_info")])

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply, after as many tries as it takes.

        Args:
            path: below base_url, or from the server's root where it begins with "//".
            body: JSON-serialisable.

        Raises:
            Refused: it makes no sense to ask again.
            Failed: `max_attempts` tries brought nothing.
            Stopped: the budget is closed, or the key, model or address is wrong.
        """
        url = self.root + path[1:] if path.startswith("//") else path
        reason = ""
        for attempt in range(self.params.max_attempts):
            if attempt:
                self.budget.usage.retries += 1
            await self.budget.enter()
            try:
                return await self.once(url, body)
            except Retryable as error:
                reason, wait, pause = str(error), error.wait_s(attempt), error.pause_s
            finally:
                self.budget.leave()
            if wait > LONGEST_RETRY_AFTER_S:
                self.budget.close(
                    f"{self.url} wants a pause of {wait:.0f} s ({reason}); run it again then: it goes on from here"
                )
                self.budget.check()
            if pause is not None:
                self.budget.hold(pause)
            if attempt + 1 < self.params.max_attempts:
                await self.budget.pause(wait)
        raise Failed(f"{reason} ({self.params.max_attempts} tries, extract_logits.server.max_attempts)")

    async def once(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        import openai

        try:
            # Parsed by json alone: the client's own models take longer than all of ours.
            async with asyncio.timeout(self.params.timeout_s):  # the client's own is of each read, and a drip goes on
                response = await self.client.post(url, cast_to=bytes, body=body)
            reply = json.loads(response)
        except openai.APIStatusError as error:
            raise self.judge(error) from None
        except (openai.APITimeoutError, TimeoutError):
            raise Retryable(f"no reply within {self.params.timeout_s:g} s (extract_logits.server.timeout_s)") from None
        except openai.APIConnectionError as error:
            raise Retryable(self.one_line(f"{error} {error.__cause__}")) from None
        except (ValueError, RecursionError):
            raise Retryable("a reply that is no JSON; does base_url end in /v1?") from None
        if not isinstance(reply, dict):
            raise Retryable("a reply that is no JSON object; does base_url end in /v1?")
        if reply.get("error"):  # some send it with status 200
            raise Retryable(self.one_line(described(reply)))
        usage = reply.get("usage") or sglang_usage(reply)
        counted = usage if isinstance(usage, dict) else {}
        self.budget.answered(counted.get("prompt_tokens"), counted.get("completion_tokens"))
        self.check_model(reply.get("model"))
        return reply

    def check_model(self, model: object) -> None:
        """Raises Stopped where another model answers than at first: its answers belong under another key."""
        self.model = self.model or model
        if model and model != self.model:
            self.budget.close(
                f"{self.url} answers as {model} now, and as {self.model} before; what was answered before is kept: see "
                "to the server, or set extract_logits.revision to a name of your own for what it serves now"
            )
            self.budget.check()

    def one_line(self, said: str) -> str:
        """What a server said, in at most 300 characters and without the key, which some repeat."""
        return " ".join(said.replace(self.key, "$OPENAI_API_KEY").split())[:300]

    def judge(self, error: "openai.APIStatusError") -> Exception:
        """What a status of 400 and above means."""
        status, said = error.status_code, self.one_line(error.message)
        if advice := HOPELESS.get(status):
            self.budget.close(f"{self.url} says {status}: {said}; {advice}")
            return Stopped(self.budget.why_closed)
        if status in WORTH_RETRYING or status >= 500:
            return Retryable(said, retry_after_s(error.response.headers))
        return Refused(said)


class Retryable(Exception):
    """Another try may do; with the pause that the server asks for, if any, in seconds."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s

    def wait_s(self, attempt: int) -> float:
        """What the server says, else twice as long from try to try; with jitter, so that not all come back at once."""
        if self.pause_s is not None:
            return self.pause_s + random.uniform(0, min(1.0, 0.25 * self.pause_s))
        return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt) * random.uniform(0.5, 1))


def retry_after_s(headers: Any) -> float | None:
    """Of the header Retry-After: seconds, or a date (RFC 9110, section 10.2.3); or of retry-after-ms, OpenAI's."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(str(value)).timestamp() - time.time())
    except ValueError:
        return None


def sglang_usage(reply: dict[str, Any]) -> dict[str, Any]:
    """SGLang's own endpoint counts elsewhere."""
    meta = reply.get("meta_info")
    return meta if isinstance(meta, dict) else {}
