"""Questions about pictures, put to one server: the probes first, then as many at a time as it may get."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from makd.errors import UserError
from makd.first_token import UNANSWERED, FirstToken, Malformed
from makd.logprob_modes import Asking, Body, Mode, modes
from makd.server_budget import Budget, Stopped
from makd.server_client import Failed, Refused, ServerClient
from makd.server_params import ServerParams

REASONS_KEPT = 5


@dataclass
class Unanswered:
    """Questions without an answer, and the first few reasons."""

    count: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        self.count += 1
        if len(self.reasons) < REASONS_KEPT:
            self.reasons[reason] = None

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class ServerSession:
    """One server for the length of a run: its connections, its budget, and what went wrong.

    Args:
        params: of the server.
        at_once: requests that it gets at a time.

    Attributes:
        failed: questions that a later run may have more luck with.
        refused: those that the server will refuse then, too.
        seconds_a_request: of those answered so far, as each one waits for its reply.
    """

    def __init__(self, params: ServerParams, at_once: int) -> None:
        self.params, self.at_once = params, at_once
        self.budget = Budget(params)
        self.runner = asyncio.Runner()  # one loop throughout, whose connections stay open from batch to batch
        self.client = self.runner.run(self.connect())
        self.turns = asyncio.Semaphore(at_once)
        self.failed, self.refused = Unanswered(), Unanswered()
        self.waited_s = 0.0
        self.mode_name: str | None = None
        self.extra: dict[str, float] | None = None  # what `settle` found this server to take

    async def connect(self) -> ServerClient:
        return ServerClient(self.params, self.budget)

    def close(self) -> None:
        self.runner.run(self.disconnect())
        self.runner.close()

    async def disconnect(self) -> None:
        """Also from what an interrupt has left in flight."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await self.client.close()

    @property
    def seconds_a_request(self) -> float:
        return self.waited_s / max(1, self.budget.usage.requests)

    def settle(self, asking: Asking, image: str) -> tuple[Mode, FirstToken]:
        """The mode in which this server tells its log-probabilities, found by asking it about a picture.

        Raises:
            UserError: none does, or not the one that the params name; the message says what to change.
        """
        return self.runner.run(self.find_mode(asking, image))

    async def find_mode(self, asking: Asking, image: str) -> tuple[Mode, FirstToken]:
        if self.extra is not None:
            asking.extra = dict(self.extra)
        elif self.params.is_openai:
            asking.extra = {}
        wanted = self.mode_name or self.params.logprobs
        is_sglang = wanted == "sglang" or (wanted == "auto" and await self.client.is_sglang())
        problems: list[str] = []
        refused = ""
        for mode in modes(asking, is_sglang=is_sglang):
            if wanted not in ("auto", mode.name):
                continue
            try:
                found = await self.try_mode(mode, asking, image)
            except Malformed as problem:
                problems.append(self.client.one_line(f"{mode.name}: the server sent {problem}"))
            except Refused as problem:
                refused = str(problem)
                problems.append(f"{mode.name}: {problem}")
            except Failed as error:
                raise UserError(f"{self.params.base_url} does not answer: {error}") from None
            except Stopped as error:
                raise UserError(str(error)) from None
            else:
                self.mode_name, self.extra = mode.name, dict(asking.extra)
                return mode, found
        if len(problems) == 1 and refused:
            raise UserError(f"{self.params.base_url} refuses a question about a picture: {refused}; docs/servers.md")
        raise UserError(
            f"{self.params.base_url} tells no log-probabilities as extract_logits.server.logprobs: {wanted} wants them "
            f"({'; '.join(problems)}); choose auto, lower top_logprobs, or start the server as docs/servers.md says"
        )

    async def try_mode(self, mode: Mode, asking: Asking, image: str) -> FirstToken:
        """One question; without the fields of other servers, where this one refuses them."""
        try:
            return await self.put(mode, mode.bodies(image, 0))
        except Refused:
            if not asking.extra:
                raise
            kept, asking.extra = asking.extra, {}
            try:
                return await self.put(mode, mode.bodies(image, 0))
            except Refused:
                asking.extra = kept
                raise

    async def put(self, mode: Mode, bodies: Sequence[Body]) -> FirstToken:
        """One question of one or more requests.

        Raises:
            Malformed, Refused, Failed, Stopped: no answer.
        """
        replies = []
        for body in bodies:
            async with self.turns:
                start = time.perf_counter()
                replies.append(await self.client.post(mode.path, body))
                self.waited_s += time.perf_counter() - start
        return mode.read(replies)

    async def put_twice(self, mode: Mode, bodies: Sequence[Body]) -> FirstToken:
        """`put`, and once more where the reply has no numbers.

        Raises:
            Malformed, Refused, Failed, Stopped: no answer.
        """
        try:
            return await self.put(mode, bodies)
        except Malformed as error:
            self.budget.failed(self.client.one_line(f"the server sent {error}"))
            return await self.put(mode, bodies)

    def answers(self, mode: Mode, images: Sequence[str], questions: Sequence[int]) -> list[list[FirstToken]]:
        """Of each picture and question; UNANSWERED where there is none, which `failed` or `refused` then counts.

        One question about a picture goes ahead and leaves it in the server's prefix cache, where all others find it.

        Raises:
            UserError: the budget is closed, and nothing was asked.
        """
        if self.budget.why_closed is not None:
            raise UserError(self.budget.why_closed)
        return self.runner.run(self.all_answers(mode, images, questions))

    async def all_answers(self, mode: Mode, images: Sequence[str], questions: Sequence[int]) -> list[list[FirstToken]]:
        async def about(image: str) -> list[FirstToken]:
            first = await self.answer(mode, image, questions[0])
            return [first, *await asyncio.gather(*(self.answer(mode, image, one) for one in questions[1:]))]

        return await asyncio.gather(*map(about, images))

    async def answer(self, mode: Mode, image: str, question: int) -> FirstToken:
        if self.budget.why_closed is not None:
            return UNANSWERED
        try:
            found = await self.put_twice(mode, mode.bodies(image, question))
        except Stopped:
            return UNANSWERED
        except Refused as error:
            reason, kind = f"the server refuses it: {error}", self.refused
        except Malformed as error:  # twice, as a filter of contents does: a later run would get the same
            reason, kind = self.client.one_line(f"the server sent {error}"), self.refused
        except Failed as error:
            reason, kind = str(error), self.failed
        else:
            self.budget.succeeded()
            return found
        kind.add(reason)
        self.budget.failed(reason)
        return UNANSWERED

    def post(self, path: str, body: Body) -> dict[str, object]:
        """A single request of a probe.

        Raises:
            Refused, Failed, Stopped: no reply.
        """
        return self.runner.run(self.client.post(path, body))

    def get(self, path: str) -> dict[str, object] | None:
        """A question to the server about itself; None where it knows no such path."""
        return self.runner.run(self.client.get(path))

    def raise_if_incomplete(self) -> None:
        """To be called last, when all that was answered is in the store.

        Raises:
            UserError: some questions have no answer that a later run may get.
        """
        if self.budget.why_closed is not None:
            raise UserError(self.budget.why_closed)
        if self.failed.count:
            raise UserError(
                f"{self.failed.count} questions got no answer: {self.failed}; all others are kept: run the same "
                "command again, and only these are asked"
            )


def flat(answers: Sequence[Sequence[FirstToken]]) -> list[FirstToken]:
    return list(itertools.chain.from_iterable(answers))
