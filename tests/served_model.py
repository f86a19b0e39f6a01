"""A multimodal LLM of transformers behind HTTP: the part of OpenAI's and vLLM's interface that makd asks for.

Each request is one plain forward pass of the whole prompt, so it shares nothing with `makd.scorer`.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL import Image


class ServedModel:
    """The model, and the chat completion of one token."""

    def __init__(self, folder: Path | str) -> None:
        self.processor = hf.AutoProcessor.from_pretrained(folder)
        self.model = hf.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.lock = threading.Lock()

    def refusal(self, request: dict[str, Any]) -> str | None:
        """As vLLM words it."""
        penalty = request.get("repetition_penalty", 1.0)
        return None if penalty > 0 else f"repetition_penalty must be greater than zero, got {penalty}."

    @torch.inference_mode()
    def completion(self, request: dict[str, Any]) -> dict[str, Any]:
        parts = request["messages"][0]["content"]
        url = next(part["image_url"]["url"] for part in parts if part["type"] == "image_url")
        image = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
        content = [{"type": "image"} if part["type"] == "image_url" else part for part in parts]
        turns = [{"role": "user", "content": content}]
        prompt = self.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        with self.lock:
            inputs = self.processor(images=[image], text=[prompt], return_tensors="pt")
            logits = self.model(**inputs, logits_to_keep=1).logits[:, -1].float()
            logprobs = logits.log_softmax(-1)[0]
            penalty = hf.RepetitionPenaltyLogitsProcessor(float(request.get("repetition_penalty", 1.0)))
            sampled = int(penalty(inputs["input_ids"], logits.clone()).argmax())
        ids = request.get("logprob_token_ids") or logprobs.topk(request.get("top_logprobs") or 1).indices.tolist()
        as_ids = request.get("return_tokens_as_token_ids")

        def told(token_id: int) -> dict[str, Any]:
            text = f"token_id:{token_id}" if as_ids else self.processor.tokenizer.decode([token_id])
            return {"token": text, "logprob": float(logprobs[token_id])}

        first = told(sampled) | {"top_logprobs": [told(one) for one in dict.fromkeys([sampled, *ids])]}
        usage = {"prompt_tokens": inputs["input_ids"].shape[1], "completion_tokens": 1}
        return {"choices": [{"message": {}, "logprobs": {"content": [first]}}], "usage": usage}


@contextmanager
def serving_model(folder: Path | str) -> Iterator[str]:
    """The address of the model in `folder`, served by a thread of this process."""
    model = ServedModel(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            refusal = model.refusal(request)
            reply = model.completion(request) if refusal is None else {"error": {"message": refusal}}
            self.reply(200 if refusal is None else 400, json.dumps(reply).encode())

        def do_GET(self) -> None:
            self.reply(404, b"{}")

        def reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
