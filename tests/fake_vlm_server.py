"""A multimodal LLM that is arithmetic, behind HTTP on this machine: like vLLM, SGLang or others, healthy or not."""

import asyncio
import base64
import hashlib
import json
import math
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

WORDS = ["Yes", "No", "Maybe", "The", "It", "A", "I", "yes", "no", "Perhaps", "There", "This"]
IDS = {word: 100 + k for k, word in enumerate(WORDS)}
YES, NO = IDS["Yes"], IDS["No"]
Fields = Literal["honour", "ignore", "reject"]


@dataclass
class Fault:
    """What comes instead of an answer."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "the engine has died"}}'
    delay_s: float = 0.0
    cut: bool = False  # the connection ends in the middle of the body
    drip_s: float = 0.0  # between one byte of the body and the next


@dataclass
class Manners:
    """How the server behaves."""

    logprob_token_ids: Fields = "ignore"
    allowed_token_ids: Fields = "ignore"
    penalties: Fields = "honour"
    sglang: bool = False
    processed: bool = False  # log-probabilities are those behind the sampler
    top_k: int = 20
    sentinel: bool = False  # -9999.0 for what is not told
    no_logprobs: bool = False
    usage: bool = True
    blind: bool = False
    mixed_up: bool = False  # answers about the picture of the request before
    sticks_to: str = ""  # or, while it is, always about this one
    unwilling: bool = False  # says something else than yes or no
    model: dict[str, Any] = field(default_factory=lambda: {"root": "weights-1"})
    delay_s: float = 0.0
    fault: Callable[[int, dict[str, Any]], Fault | None] = lambda number, body: None


def logits(image: str, message: str) -> dict[str, float]:
    """Of the first token: the picture and the question decide yes and no, which hold nearly all of the probability."""
    rng = random.Random(hashlib.sha256(f"{image}|{message}".encode()).digest())
    return {"Yes": rng.uniform(2, 9), "No": rng.uniform(2, 9)} | {word: rng.uniform(-4, 1) for word in WORDS[2:]}


def log_softmax(z: dict[str, float]) -> dict[str, float]:
    total = math.log(sum(map(math.exp, z.values())))
    return {word: value - total for word, value in z.items()}


def truth(image: str, message: str) -> float:
    """P(yes) of Eq. (1)."""
    z = logits(image, message)
    return 1 / (1 + math.exp(z["No"] - z["Yes"]))


class FakeVLM:
    """The server; to be run in a loop of its own."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.asked: list[dict[str, Any]] = []
        self.keep = True  # what was asked; not over ten thousand requests
        self.count = 0
        self.at_once = self.most_at_once = 0
        self.last_image = ""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=2**24)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *headers = head.decode().split("\r\n")
                names = (one.split(": ", 1) for one in headers if ": " in one)
                length = next((int(value) for name, value in names if name.lower() == "content-length"), 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                if not await self.respond(writer, line.split()[1], body):
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return  # the client has hung up
        finally:
            writer.close()

    async def respond(self, writer: asyncio.StreamWriter, path: str, body: dict[str, Any]) -> bool:
        """Whether the connection goes on."""
        if not body:
            return await self.send(writer, *self.about_itself(path))
        self.count += 1
        if self.keep:
            self.asked.append(body | {"path": path})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            fault = self.manners.fault(self.count, body)
            await asyncio.sleep(fault.delay_s if fault else self.manners.delay_s)
            if fault is None:
                return await self.send(writer, *self.answer(path, body))
            return await self.send(writer, fault.status, fault.body, fault.headers, cut=fault.cut, drip_s=fault.drip_s)
        finally:
            self.at_once -= 1

    async def send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        body: str,
        headers: dict[str, str] | None = None,
        cut: bool = False,
        drip_s: float = 0.0,
    ) -> bool:
        content = body.encode()
        lines = {"Content-Type": "application/json", "Content-Length": str(len(content))} | (headers or {})
        head = f"HTTP/1.1 {status} It is so\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(head.encode() + b"\r\n" + (content[: len(content) // 2] if cut else b"" if drip_s else content))
        for byte in content if drip_s else b"":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(drip_s)
        await writer.drain()
        return not cut

    def about_itself(self, path: str) -> tuple[int, str]:
        if path == "/get_model_info" and self.manners.sglang:
            return 200, "{}"
        if path == "/v1/models":
            return 200, json.dumps({"data": [{"id": "tiny", "created": self.port} | self.manners.model]})
        return 404, "{}"

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        manners = self.manners
        for name in ("logprob_token_ids", "allowed_token_ids"):
            if name in body and getattr(manners, name) == "reject":
                return 400, json.dumps({"error": {"message": f"unknown field {name}"}})
        if manners.penalties == "reject" and "repetition_penalty" in body:
            return 400, json.dumps({"error": {"message": "unknown field repetition_penalty"}})
        if path == "/generate":
            image, message = body["image_data"], body["text"]
        else:
            image_part, text_part = body["messages"][0]["content"]  # the image first
            image, message = image_part["image_url"]["url"], text_part["text"]
        assert image.startswith("data:image/")
        assert base64.b64decode(image.partition(",")[2])
        other = manners.sticks_to or self.last_image or image
        seen, self.last_image = other if manners.mixed_up else image, image
        z = logits("" if manners.blind else seen, message)
        if manners.unwilling:
            z |= {"The": 30.0}
        logprobs = log_softmax(z)
        usage = {"prompt_tokens": 50, "completion_tokens": 1}
        if path == "/generate":
            ids = body["token_ids_logprob"]  # of any vocabulary: yes, then no
            told = [[logprobs[word], token_id, None] for word, token_id in zip(("Yes", "No"), ids, strict=True)]
            return 200, json.dumps({"text": "", "meta_info": {"output_token_ids_logprobs": [told]} | usage})
        return 200, json.dumps(self.completion(body, logprobs) | ({"usage": usage} if manners.usage else {}))

    def completion(self, body: dict[str, Any], logprobs: dict[str, float]) -> dict[str, Any]:
        manners = self.manners
        ranked = sorted(logprobs, key=lambda word: -logprobs[word])
        penalty = body.get("repetition_penalty", 1.0) if manners.penalties == "honour" else 1.0
        sampled = ranked[0] if penalty == 1 else next(word for word in ranked if word not in ("Yes", "No"))
        allowed = body.get("allowed_token_ids") if manners.allowed_token_ids == "honour" else None
        if allowed:
            sampled = max((word for word in WORDS if IDS[word] in allowed), key=lambda word: logprobs[word])
            if manners.processed:
                logprobs = logprobs | {sampled: 0.0}
        top = ranked[: min(body.get("top_logprobs", 0), manners.top_k)]
        if manners.logprob_token_ids == "honour" and "logprob_token_ids" in body:
            top = list(dict.fromkeys([sampled, *(w for w in WORDS if IDS[w] in body["logprob_token_ids"])]))
        as_ids = body.get("return_tokens_as_token_ids") and manners.allowed_token_ids != "ignore"
        as_ids = as_ids or (manners.logprob_token_ids == "honour" and body.get("return_tokens_as_token_ids"))
        name = (lambda word: f"token_id:{IDS[word]}") if as_ids else (lambda word: word)
        told = [{"token": name(word), "logprob": logprobs[word]} for word in top]
        if manners.sentinel:
            told += [{"token": name(word), "logprob": -9999.0} for word in WORDS if word not in top]
        first = {"token": name(sampled), "logprob": logprobs[sampled], "top_logprobs": told}
        choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": sampled}}
        return {"choices": [choice | ({} if manners.no_logprobs else {"logprobs": {"content": [first]}})]}


@contextmanager
def serving(manners: Manners) -> Iterator[FakeVLM]:
    """The server, in a thread of its own."""
    fake, loop, ready = FakeVLM(manners), asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        async with await fake.start() as server:
            ready.set()
            await server.serve_forever()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner, suppress(asyncio.CancelledError):
            runner.run(run())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait()
    yield fake
    loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    thread.join()
