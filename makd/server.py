"""A multimodal LLM behind an OpenAI-compatible server, as an `Answerer`: vLLM, SGLang, llama.cpp, Ollama, OpenAI.

It gives log P(yes) and log P(no) of the first token, whose softmax is that of the logits, or bounds where the server
does not tell both (makd/first_token.py). Shards, store and tables are those of the model in this process.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from jaxtyping import Float
from PIL import ImageOps
from PIL.Image import Image
from torch import Tensor

from makd.answer_tokens import answer_tokens, load_processor
from makd.encoded_images import DataUrls
from makd.errors import UserError
from makd.estimate import Cost, duration
from makd.extraction_params import ExtractLogitsParams
from makd.files import read_memo, write_json
from makd.first_token import Malformed, top_of
from makd.logprob_modes import CHAT, Asking, Mode
from makd.scorer import SelfTest
from makd.server_budget import Stopped
from makd.server_client import Failed, Refused
from makd.server_probes import PenaltyProbe, check_mass, check_mixed_images, served_model
from makd.server_session import ServerSession, flat

MEMO = "server.json"
"""In the store's folder: what the server said of itself when it was first asked."""


class Server:
    """Makes answerers of some of the questions, which share one session.

    Args:
        block: which model, server and words.
        at_once: requests that the server gets at a time (`runtime.requests`).
        folder: of the store, where the server's own account of the model is kept.
    """

    def __init__(self, block: ExtractLogitsParams, at_once: int, folder: Path) -> None:
        self.block, self.folder = block, folder
        name = block.server.tokenizer
        self.processor = None if name is None else load_processor(name)
        self.session = ServerSession(block.server, at_once)
        self.tested: SelfTest | None = None

    def answerer(self, messages: Sequence[str]) -> "ServerAnswerer":
        """Of questions as the user puts them, whole messages.

        Raises:
            UserError: an answer that is not one token behind them.
        """
        return ServerAnswerer(self, messages)

    def close(self) -> None:
        """Say what was used, and leave the server."""
        print(f"server: {self.session.budget.summary()}", flush=True)
        if self.session.refused.count:
            refused = self.session.refused
            print(f"server: {refused.count} questions stay without an answer: {refused}", flush=True)
        self.session.close()

    def check_identity(self, mode: str) -> None:
        """The store's key knows the model by the name and revision in the params alone, so a server must stay its own.

        Raises:
            UserError: a model of this name that is another than the one whose answers the store has, or that tells them
                in another way.
        """
        entry = served_model(
            self.session.get(f"{urlsplit(str(self.block.server.base_url)).path.rstrip('/')}/models"), self.block.model
        )
        now = entry | {"tells": "top_k" if mode == "top_k" else "both"}
        known = read_memo(self.folder / MEMO, dict)
        if differing := sorted(key for key in now.keys() & known.keys() if now[key] != known[key]):
            changes = ", ".join(f"{key} is {now[key]!r}, was {known[key]!r}" for key in differing)
            raise UserError(
                f"{self.block.server.base_url} serves another {self.block.model} than the one whose answers the store "
                f"has: {changes}; set extract_logits.revision to a name of your own for it, or delete "
                f"{self.folder / MEMO} if it is the same"
            )
        if now.keys() - known.keys():
            write_json(known | now, self.folder / MEMO)


class ServerAnswerer:
    """An `Answerer` (makd/answerer.py) over HTTP.

    Attributes:
        why_one_by_one: None: whether the server reads a picture once is up to its prefix cache.
        reader: makes of a picture the data URL that `score` takes.
    """

    why_one_by_one = None

    def __init__(self, server: Server, messages: Sequence[str]) -> None:
        self.server, self.session = server, server.session
        block, params = server.block, server.block.server
        self.reader = DataUrls(params.image_format, params.jpeg_quality, params.image_max_px)
        ids, prompts = answer_tokens(block, messages, server.processor)
        self.asking = Asking(block.model, messages, block.answers, params, ids, prompts)
        self.settled: Mode | None = None

    def mode(self, image: str) -> Mode:
        if self.settled is None:
            self.settled, _ = self.session.settle(self.asking, image)
        return self.settled

    def self_test(self, images: Sequence[Image]) -> SelfTest:
        """The probes, once for all answerers of a server; some thirty requests.

        Raises:
            UserError: the server is not fit for this; the message says what to change on it.
        """
        if self.server.tested is None:
            self.server.tested = self.probe([self.reader.inputs(image) for image in images], images[0])
        return self.server.tested

    def probe(self, images: Sequence[str], first: Image) -> SelfTest:
        mode = self.mode(images[0])
        self.server.check_identity(mode.name)
        chosen = sorted({0, len(self.asking.messages) // 2, len(self.asking.messages) - 1})
        answers = flat(self.session.answers(mode, images, chosen))
        self.session.raise_if_incomplete()
        if self.session.refused.count:
            raise UserError(
                f"{self.server.block.server.base_url} refuses questions about the first pictures: "
                f"{self.session.refused}; change extract_logits.server.image_format or image_max_px, or what the "
                "server takes"
            )
        likeliest = Counter(self.likeliest(images[0], question) for question in chosen)
        check_mass(answers, likeliest)
        if self.server.block.server.penalties == "probe":
            print(f"server: {PenaltyProbe(self.session.post, self.asking, images[0]).check()}", flush=True)
        negative = self.reader.inputs(ImageOps.invert(first))
        a, b, again = (flat(self.session.answers(mode, [url], chosen)) for url in (images[0], negative, images[0]))
        # With as many requests under way as there will be: some servers mix pictures up only then
        pairs = max(2, math.ceil(self.session.at_once / 2))
        together = self.session.answers(mode, [images[0], negative] * pairs, chosen)
        self.session.raise_if_incomplete()
        difference = max(check_mixed_images(a, b, one) for one in (again, *together[::2]))
        difference = max(difference, *(check_mixed_images(b, a, one) for one in together[1::2]))
        exact = sum(one.exact for one in answers)
        print(f"server: logprobs by {mode.name}, {exact} of {len(answers)} answers exact", flush=True)
        masses = [one.mass for one in answers]
        return SelfTest(difference, len(answers), sum(masses) / len(masses), min(masses), dict(likeliest))

    def likeliest(self, image: str, question: int) -> str:
        """The token that the model would begin with."""
        body = self.asking.chat(image, self.asking.messages[question], top_logprobs=1)
        try:
            return top_of(self.session.post(CHAT, body))[0][0]
        except (Malformed, Refused, Failed, Stopped):
            return "?"

    def cost(self, inputs: Any) -> Cost:
        """Input tokens of one picture's questions, as the probes had them counted; the server tells no FLOPs."""
        usage = self.session.budget.usage
        return Cost(round(len(self.asking.messages) * usage.input_tokens / max(1, usage.requests)), 0)

    def estimate(self, images: int) -> str:
        """What asking about so many pictures takes, from the probes' requests; asks nothing."""
        usage, params = self.session.budget.usage, self.server.block.server
        per_question = len(self.settled.bodies("", 0)) if self.settled else 1
        requests = images * len(self.asking.messages) * per_question
        tokens = [total / max(1, usage.requests) * requests for total in (usage.input_tokens, usage.output_tokens)]
        seconds = requests * self.session.seconds_a_request / self.session.at_once
        if params.max_requests_per_minute is not None:
            seconds = max(seconds, 60 * requests / params.max_requests_per_minute)
        line = f"{requests:,} requests, about {tokens[0]:,.0f} input and {tokens[1]:,.0f} output tokens"
        usd = params.usd(*tokens)
        line += ", at no given price" if usd is None else f", {usd:.4g} USD"
        if usd is not None and params.max_cost_usd is not None and usd > params.max_cost_usd:
            line += f", which is more than extract_logits.server.max_cost_usd: it stops at {params.max_cost_usd:g} USD"
        return f"{line}, {duration(seconds)} (from the {usage.requests} requests of the probes)"

    def score(self, batch: Sequence[str]) -> Float[Tensor, "images questions 4"]:
        """Log P(yes), log P(no) and the bounds of P(yes), NaN where not told; all four NaN where there is no answer.

        Raises:
            UserError: nothing more is asked: too many failures in a row, a limit, a wrong key or address. What was
                answered until then was returned by the call before.
        """
        answers = self.session.answers(self.mode(batch[0]), batch, range(len(self.asking.messages)))
        return torch.from_numpy(np.array(answers, dtype=np.float32))
