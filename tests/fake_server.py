"""An OpenAI-compatible server on this machine."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(text: str, logprobs: dict[str, float] | None = None) -> tuple[int, str]:
    """Status and body of a reply, and, if so, of the probabilities of its first token."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    if logprobs is not None:
        likeliest = [{"token": token, "logprob": value, "bytes": None} for token, value in logprobs.items()]
        choice["logprobs"] = {"content": [{"token": text, "logprob": 0.0, "bytes": None, "top_logprobs": likeliest}]}
    body = {"id": "1", "object": "chat.completion", "model": "tiny-1.0", "choices": [choice]}
    return 200, json.dumps(body)


@contextmanager
def serving() -> Iterator["Server"]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


class Server(ThreadingHTTPServer):
    """Answers from a queue, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str]] = []  # status and body, one a request; the last is repeated
        self.choose: Callable[[dict[str, Any]], tuple[int, str]] | None = None  # the answer to a request, instead
        self.delay_s = 0.0
        self.asked: list[dict[str, Any]] = []
        self.authorization: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def says(self, *texts: str) -> None:
        self.answers += [completion(text) for text in texts]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has hung up is what the time-out test wants."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(request)
        self.server.authorization.append(self.headers["Authorization"])
        time.sleep(self.server.delay_s)
        answers = self.server.answers
        if self.server.choose is not None:
            status, body = self.server.choose(request)
        else:
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass
