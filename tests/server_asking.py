"""The server back-end against the fake server, as the tests use it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from makd.extraction_params import ExtractLogitsParams
from makd.params import read_params
from makd.server import Server, ServerAnswerer
from tests.fake_vlm_server import NO, YES, FakeVLM, Manners, serving, truth

MESSAGES = [f"Does it have {k} feathers? Yes or No?" for k in range(5)]


def server_block(url: str, **changed: Any) -> ExtractLogitsParams:
    """The block of params.yaml for a server at `url`; `changed` are params of its server."""
    block = read_params()["extract_logits"]
    block["server"] |= {"base_url": url, "token_ids": [YES, NO], "timeout_s": 5.0, **changed}
    return ExtractLogitsParams.model_validate(block | {"backend": "server", "model": "tiny"})


def pictures(n: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in range(n)]


@contextmanager
def asking(
    folder: Path, manners: Manners, *, at_once: int = 8, messages: Sequence[str] = MESSAGES, **changed: Any
) -> Iterator[tuple[FakeVLM, ServerAnswerer]]:
    """The fake server, and an answerer of it."""
    with serving(manners) as fake:
        server = Server(server_block(fake.url, **changed), at_once, folder)
        yield fake, server.answerer(messages)
        server.session.close()


def expected(urls: Sequence[str], messages: Sequence[str] = MESSAGES) -> np.ndarray:
    """P(yes), shape (images, questions)."""
    return np.array([[truth(url, message) for message in messages] for url in urls])


def p_yes(z: np.ndarray) -> np.ndarray:
    z = z.astype(np.float64)
    return np.asarray(1 / (1 + np.exp(z[..., 1] - z[..., 0])))
