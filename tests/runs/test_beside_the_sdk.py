"""The engine's client and the provider's own, side by side against the same simulated provider, see the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from segmind import SegmindClient
from segmind.v2 import InferenceFailed

from engine.clock import SystemClock
from engine.provider.api_key import SIMULATOR_KEY
from engine.provider.description import load_description
from engine.provider.http_provider import HttpProvider
from engine.provider.protocol import Request
from engine.provider.verdict import Accepted, Completed, Failed, Result
from tests.runs.conftest import provider
from tests.waiting import wait_until

if TYPE_CHECKING:
    from engine.simulator import Simulator

pytestmark = pytest.mark.sockets

MODEL = "kling-v1-pro-ai-avatar"
BODY = {"image_url": "https://example.com/a.png", "audio_url": "https://example.com/a.wav"}


def ours(simulator: Simulator) -> HttpProvider:
    return HttpProvider(
        load_description("segmind"),
        base_url=simulator.base_url,
        api_key=SIMULATOR_KEY,
        clock=SystemClock(),
        connect_timeout_s=5,
        submit_timeout_s=10,
        request_timeout_s=10,
        reply_bytes_max=2**20,
    )


async def theirs(simulator: Simulator, **body: str) -> dict[str, Any]:
    """Submit and wait with the provider's own client, in a thread; return its result, or the error it raised."""

    def work() -> dict[str, Any]:
        client = SegmindClient(api_key=SIMULATOR_KEY, base_url=f"{simulator.base_url}/v1")
        try:
            return dict(client.submit_async(MODEL, **body).wait(timeout=10, interval=0.01))
        except InferenceFailed as error:
            return {"status": "FAILED", "error": str(error.detail)}
        finally:
            client._client.close()

    return await asyncio.to_thread(work)


async def test_a_success_is_the_same_to_both() -> None:
    async with provider() as simulator, ours(simulator) as client:
        seen_by_them = await theirs(simulator, **BODY)
        seen_by_us = await client.fetch(Request(seen_by_them["request_id"]))
        assert isinstance(seen_by_us, Result)
        assert seen_by_us.output == seen_by_them
        assert seen_by_us.urls == (seen_by_them["output"],)
        assert seen_by_us.metrics.cost_usd == seen_by_them["metrics"]["cost"]

        accepted = await client.submit(MODEL, dict(BODY))
        assert isinstance(accepted, Accepted)
        await wait_until(lambda: simulator.bill(with_bodies=False).paid == 2, description="the provider has finished")
        assert isinstance(await client.poll(Request(accepted.request_id)), Completed)


async def test_a_failure_is_the_same_to_both() -> None:
    async with provider() as simulator, ours(simulator) as client:
        seen_by_them = await theirs(simulator, image_url="ftp://x")
        accepted = await client.submit(MODEL, {"image_url": "ftp://x"})
        assert isinstance(accepted, Accepted)
        await wait_until(lambda: simulator.bill(with_bodies=False).failed == 2, description="both have failed")
        seen_by_us = await client.poll(Request(accepted.request_id))
        assert isinstance(seen_by_us, Failed)
        assert seen_by_us.http_status == 422
        assert seen_by_us.message in seen_by_them["error"]
        assert isinstance(await client.fetch(Request(accepted.request_id)), Failed)
