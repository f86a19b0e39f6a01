"""Asking a server at full speed: is every answer there, does memory stay flat, and who takes the processor's time?

The server is arithmetic, in a process of its own; this one asks 10,000 questions (100 pictures), 64 at a time, through
the same `makd.server.Server` as the stage. `python -m benchmarks.server` prints the figures of docs/servers.md.
"""

import asyncio
import multiprocessing
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import numpy as np
from PIL import Image

from benchmarks.peak import status
from makd.extraction_params import ExtractLogitsParams
from makd.params import read_params
from makd.server import Server
from tests.fake_vlm_server import NO, YES, FakeVLM, Manners, truth

N_QUESTIONS = 100
BATCH_IMAGES = 10
N_BATCHES = 10
AT_ONCE = 64
IMAGE_PX = 64
OWNERS = {"/makd/": "makd", "/openai/": "openai", "/httpx2/": "httpx", "/httpcore2/": "httpx", "/anyio/": "httpx"}
SAMPLE_S = 0.001


def serve(port: Connection) -> None:
    async def run() -> None:
        fake = FakeVLM(Manners(logprob_token_ids="honour"))
        fake.keep = False
        async with await fake.start() as server:
            port.send(fake.url)
            await server.serve_forever()

    asyncio.run(run())


@contextmanager
def fake_server() -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    yield here.recv()
    process.terminate()
    process.join()


@contextmanager
def owners_of_time() -> Iterator[Counter[str]]:
    """Samples of the processor's time, by who asked for it: what a package calls of the standard library is its own."""
    samples = Counter[str]()

    def sample(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            owner = next((name for part, name in OWNERS.items() if part in frame.f_code.co_filename), None)
            if owner is not None:
                samples[owner] += 1
                return
            frame = frame.f_back
        samples["event loop"] += 1

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)
    yield samples
    signal.setitimer(signal.ITIMER_PROF, 0)


def params(url: str) -> ExtractLogitsParams:
    values = read_params()["extract_logits"]
    values["server"] |= {"base_url": url, "token_ids": [YES, NO]}
    return ExtractLogitsParams.model_validate(values | {"backend": "server", "model": "tiny"})


def measure() -> dict[str, float]:
    """Figures by name; times in milliseconds of this process's processor time a request.

    Raises:
        AssertionError: an answer is missing or another picture's.
    """
    rng = np.random.default_rng(0)
    messages = [f"Does the bird have {k} feathers?" for k in range(N_QUESTIONS)]
    with fake_server() as url, tempfile.TemporaryDirectory() as folder:
        server = Server(params(url), AT_ONCE, Path(folder))
        answerer = server.answerer(messages)
        pictures = [
            Image.fromarray(rng.integers(0, 255, (IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8))
            for _ in range(BATCH_IMAGES * N_BATCHES)
        ]
        urls = [answerer.reader.inputs(picture) for picture in pictures]
        answerer.self_test(pictures[:2])
        memory, worst = [], 0.0
        cpu, wall, before = time.process_time(), time.perf_counter(), server.session.budget.usage.requests
        with owners_of_time() as samples:
            found = []
            for start in range(0, len(urls), BATCH_IMAGES):
                found.append(answerer.score(urls[start : start + BATCH_IMAGES]).numpy())
                memory.append(status("VmRSS"))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        requests = server.session.budget.usage.requests - before
        server.close()
    z = np.concatenate(found).astype(np.float64)
    expected = np.array([[truth(one, message) for message in messages] for one in urls])
    worst = float(np.abs(1 / (1 + np.exp(z[..., 1] - z[..., 0])) - expected).max())
    assert worst < 1e-5, "an answer is missing, or another picture's"  # NaN is no less than anything
    total = sum(samples.values())
    figures = {f"cpu_ms.{name}": 1e3 * cpu / requests * samples[name] / total for name in sorted(samples)}
    return {
        "requests": requests,
        "requests_per_s": requests / wall,
        "cpu_ms.all": 1e3 * cpu / requests,
        **figures,
        "max_abs_dp": worst,
        "memory_growth_mb": (memory[-1] - memory[1]) / 1e6,
    }


def main() -> None:
    for name, value in measure().items():
        print(f"{name:20} {value:12.4g}")


if __name__ == "__main__":
    main()
