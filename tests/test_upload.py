import asyncio
import io
import time
from collections.abc import Iterator

import pytest
from fastapi import HTTPException, Request
from PIL import Image
from starlette.types import Message

from makd.upload import looked_at


def request(chunks: Iterator[bytes]) -> Request:
    """A PNG that arrives in chunks."""

    async def receive() -> Message:
        chunk = next(chunks, b"")
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    return Request({"type": "http", "headers": [(b"content-type", b"image/png")]}, receive)


def test_nothing_is_waited_for_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.upload.MOST_BYTES", 2000)
    taken = 0

    def without_end() -> Iterator[bytes]:
        nonlocal taken
        while taken <= 2000:
            taken += 100
            yield b"x" * 100
        raise AssertionError("more was taken")

    with pytest.raises(HTTPException) as refusal:
        asyncio.run(looked_at(request(without_end()), lambda image: image.size))
    assert (refusal.value.status_code, taken) == (413, 2100)


def test_pictures_are_looked_at_one_at_a_time() -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "PNG")
    inside: list[Image.Image] = []

    def use(image: Image.Image) -> int:
        inside.append(image)
        time.sleep(0.1)
        found = len(inside)
        inside.pop()
        return found

    async def ask_twice() -> list[int]:
        return await asyncio.gather(*(looked_at(request(iter([file.getvalue()])), use) for _ in range(2)))

    assert asyncio.run(ask_twice()) == [1, 1]


def test_what_takes_too_long_or_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("makd.upload.MOST_SECONDS", 0.05)

    async def stalls() -> Message:
        await asyncio.sleep(10)
        raise AssertionError("it was waited for")

    async def hangs_up() -> Message:
        return {"type": "http.disconnect"}

    for receive, status in ((stalls, 408), (hangs_up, 400)):
        upload = Request({"type": "http", "headers": [(b"content-type", b"image/png")]}, receive)
        with pytest.raises(HTTPException) as refusal:
            asyncio.run(looked_at(upload, lambda image: image.size))
        assert refusal.value.status_code == status
