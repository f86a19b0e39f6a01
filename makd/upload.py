"""A picture that a stranger sent: looked at only if it is small, in bytes and in pixels, and of a picture's format.

It is the body of the request. It is never written anywhere, and its name never arrives: no path of a client touches the
disk.
"""

import asyncio
import threading
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from fastapi import HTTPException, Request
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from makd.pictures import UnreadablePicture, decode_rgb

MOST_BYTES = 20 * 2**20
MOST_PIXELS = 50_000_000
"""Of an upload, and of what it unpacks to: a file of a few kilobytes may claim to be a picture of gigabytes."""
MOST_SECONDS = 30
"""Without a byte of an upload, so that nobody holds a connection open for ever; a slow one may take its time."""
TYPES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
}
ONE_AT_A_TIME = threading.Lock()
"""A picture may take hundreds of megabytes while it is decoded, and a student takes all cores."""
T = TypeVar("T")


async def looked_at(request: Request, use: Callable[[Image.Image], T]) -> T:
    """What `use` makes of the picture that the request holds, as RGB.

    Raises:
        HTTPException: 415 for another type than TYPES, 413 for too many bytes or pixels, 408 for a pause too long, 400
            for no picture or one that is too thin, 503 while the server ends.
    """
    kind = format_of(request)
    content = await body_of(request)

    def decode_and_use() -> T:
        with ONE_AT_A_TIME:
            try:
                return use(opened(content, kind))
            except UnreadablePicture as error:
                raise HTTPException(400, str(error)) from None

    return await run_in_threadpool(decode_and_use)


def format_of(request: Request) -> str:
    """Pillow's name for what the Content-Type says."""
    name = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if name not in TYPES:
        raise HTTPException(415, f"the Content-Type is {name or 'missing'}, expected one of {', '.join(TYPES)}")
    return TYPES[name]


async def body_of(request: Request) -> bytes:
    """Not a byte beyond the limit is waited for, whatever the client claims to send, and none for long."""
    body = bytearray()
    try:
        async with asyncio.timeout(MOST_SECONDS) as limit:
            async for chunk in request.stream():
                limit.reschedule(asyncio.get_running_loop().time() + MOST_SECONDS)
                body += chunk
                if len(body) > MOST_BYTES:
                    raise HTTPException(413, f"more than {MOST_BYTES >> 20} MiB; send a smaller picture")
    except TimeoutError:
        raise HTTPException(408, f"nothing more arrived for {MOST_SECONDS} seconds; send the picture again") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client hung up") from None
    except asyncio.CancelledError:  # the server ends, and uvicorn would print a traceback
        raise HTTPException(503, "the server is ending") from None
    return bytes(body)


def opened(content: bytes, kind: str) -> Image.Image:
    """The picture, of the format `kind` and no other, so that no rare decoder is reached from outside."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is a lower one
            with Image.open(BytesIO(content), formats=[kind]) as header:
                n_pixels = header.width * header.height
        if n_pixels <= MOST_PIXELS:
            return decode_rgb(BytesIO(content), Path("the upload"))
    except UnreadablePicture:
        raise
    except Image.DecompressionBombError:
        pass
    except Exception:  # Pillow's readers raise nearly every type on broken headers
        raise HTTPException(400, f"the upload is no {kind} that can be read; does its Content-Type fit it?") from None
    raise HTTPException(413, f"more than {MOST_PIXELS // 10**6} million pixels; send a smaller picture")
