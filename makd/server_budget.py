"""How many requests a minute a server gets, what they cost, and when to stop asking it."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeGuard

from makd.server_params import ServerParams


class Stopped(Exception):
    """No more is asked; the message says why and what to do. What was answered before is kept."""


@dataclass
class Usage:
    """What was asked so far; tokens as the server counts them."""

    requests: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncounted: int = 0  # replies that do not say how many tokens they took


def is_count(tokens: object) -> TypeGuard[int]:
    return isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0


class Budget:
    """Lets requests through one by one, and closes for good when a limit is reached or too many fail in a row.

    Attributes:
        usage: of the requests so far.
        why_closed: what to tell the user; None while it is open.
    """

    def __init__(self, params: ServerParams) -> None:
        self.params = params
        self.usage = Usage()
        self.why_closed: str | None = None
        self.closed = asyncio.Event()
        self.failures_in_a_row = 0
        self.next_start = self.held_until = 0.0
        self.in_flight = 0
        self.dearest_usd = 0.0

    def close(self, why: str) -> None:
        """The first reason stays."""
        self.why_closed = self.why_closed or why
        self.closed.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than there is something to wait for."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.closed.wait(), seconds)

    def check(self) -> None:
        """Raises: Stopped."""
        if self.why_closed is not None:
            raise Stopped(self.why_closed)

    async def enter(self) -> None:
        """Wait for this request's turn; to be followed by `leave`.

        Raises:
            Stopped: the budget is closed, or a request as dear as the dearest so far would cost more than is allowed.
        """
        self.check()
        limit = self.params.max_cost_usd
        if limit is not None and self.spent_usd() + (self.in_flight + 1) * self.dearest_usd > limit:
            self.close(
                f"extract_logits.server.max_cost_usd is {limit:g}, and one more request would go beyond it; raise it "
                "and run the same command again: it goes on from here"
            )
            self.check()
        self.in_flight += 1
        try:
            await self.turn()
            self.check()  # it may have been closed meanwhile
        except BaseException:
            self.leave()
            raise

    async def turn(self) -> None:
        """Wait for a start that neither the rate nor the server forbids; after a pause, for another one."""
        a_minute = self.params.max_requests_per_minute
        while self.why_closed is None:
            start = max(time.monotonic(), self.next_start, self.held_until)
            if a_minute is not None:
                self.next_start = start + 60 / a_minute
            while self.why_closed is None and (left := start - time.monotonic()) > 0:
                await self.pause(left)
            if start >= self.held_until:
                return

    def hold(self, seconds: float) -> None:
        """No request starts for so long: the server has asked for a pause."""
        self.held_until = max(self.held_until, time.monotonic() + seconds)

    def leave(self) -> None:
        self.in_flight -= 1

    def spent_usd(self) -> float:
        return self.params.usd(self.usage.input_tokens, self.usage.output_tokens) or 0.0

    def answered(self, input_tokens: object, output_tokens: object) -> None:
        """A reply came; the tokens are those that it tells, if they are numbers of tokens."""
        self.usage.requests += 1
        if not (is_count(input_tokens) and is_count(output_tokens)):
            self.usage.uncounted += 1
            if self.params.max_cost_usd is not None:
                self.close(
                    "the server does not tell how many tokens a request takes, so extract_logits.server.max_cost_usd "
                    "cannot be kept; set it to null, or ask a server that sends `usage`"
                )
            return
        self.usage.input_tokens += input_tokens
        self.usage.output_tokens += output_tokens
        self.dearest_usd = max(self.dearest_usd, self.params.usd(input_tokens, output_tokens) or 0.0)

    def succeeded(self) -> None:
        """A question got its answer."""
        self.failures_in_a_row = 0

    def failed(self, reason: str) -> None:
        """A question got no answer, retries included."""
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= self.params.max_failures:
            self.close(
                f"{self.failures_in_a_row} questions in a row got no answer "
                f"(extract_logits.server.max_failures), the last one because of: {reason}; what was answered is kept: "
                "see to the server, then run the same command again"
            )

    def summary(self) -> str:
        """Such as "120 requests (3 retries), 84,000 input and 120 output tokens, 0.0126 USD"."""
        used = self.usage
        text = f"{used.requests:,} requests ({used.retries:,} retries), "
        text += f"{used.input_tokens:,} input and {used.output_tokens:,} output tokens"
        if used.uncounted:
            text += f" ({used.uncounted:,} replies did not tell theirs)"
        usd = self.params.usd(used.input_tokens, used.output_tokens)
        return text if usd is None else f"{text}, {usd:.4g} USD"
