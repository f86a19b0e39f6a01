import asyncio
import time
from email.utils import formatdate
from typing import Any

import pytest

from makd.errors import UserError
from makd.server_budget import Budget
from makd.server_client import LONGEST_WAIT_S, Retryable, ServerClient, retry_after_s
from tests.server_asking import server_block


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "150", "retry-after": "2"}, 0.15),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}, 0),
    ],
)
def test_the_pause_that_is_asked_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_the_pause_may_be_a_date() -> None:
    found = retry_after_s({"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert found is not None
    assert 28 < found <= 30


def test_waits_double_with_jitter_up_to_a_limit() -> None:
    for attempt, longest in enumerate([0.5, 1, 2, 4]):
        waits = [Retryable("busy").wait_s(attempt) for _ in range(100)]
        assert longest / 2 <= min(waits) < max(waits) <= longest
    assert Retryable("busy").wait_s(30) <= LONGEST_WAIT_S
    assert 3 <= Retryable("busy", 3.0).wait_s(0) <= 4


def client(url: str) -> ServerClient:
    async def make() -> ServerClient:
        params = server_block(url).server
        return ServerClient(params, Budget(params))

    return asyncio.run(make())


def test_openai_needs_a_key() -> None:
    with pytest.raises(UserError, match=r"OPENAI_API_KEY is not set, and https://api\.openai\.com/v1 needs it"):
        client("https://api.openai.com/v1")


def test_an_azure_address_keeps_its_version_and_gets_the_key_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    found: Any = client("https://mine.openai.azure.com/openai/deployments/gpt?api-version=2025-01-01").client
    assert str(found.base_url) == "https://mine.openai.azure.com/openai/deployments/gpt/"
    assert found.default_query == {"api-version": "2025-01-01"}
    assert found.default_headers["api-key"] == "secret"
