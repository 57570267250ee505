"""The provider's own client, unchanged, takes the simulator for the provider."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from segmind import SegmindClient
from segmind.exceptions import SegmindError
from segmind.v2 import InferenceFailed

from engine.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path

Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]

pytestmark = pytest.mark.sockets

KEY = "SG_0123456789abcdef"


def official(base_url: str) -> Any:
    """Return the client with every request turned to the simulator: two of its hosts are built in."""
    target = httpx.URL(base_url)

    def reroute(request: httpx.Request) -> None:
        request.url = request.url.copy_with(scheme="http", host=target.host, port=target.port)

    client = SegmindClient(api_key=KEY, base_url=f"{base_url}/v1")
    client._client.event_hooks = {"request": [reroute]}
    return client


async def test_it_submits_waits_and_gets_the_result(simulate: Simulate, model: str, body: dict[str, str]) -> None:
    simulator, _ = await simulate()

    def work() -> Any:
        client = SegmindClient(api_key=KEY, base_url=f"{simulator.base_url}/v1")
        try:
            return client.submit_async(model, **body).wait(timeout=10, interval=0.01)
        finally:
            client._client.close()

    result = await asyncio.to_thread(work)
    assert result["status"] == "COMPLETED"
    assert result["output"] == result["video"]["url"]
    assert simulator.bill().bodies[0].body == body


async def test_it_raises_the_providers_error_for_a_failed_job(simulate: Simulate, model: str) -> None:
    simulator, _ = await simulate()

    def work() -> None:
        client = SegmindClient(api_key=KEY, base_url=f"{simulator.base_url}/v1")
        try:
            client.submit_async(model, image_url="ftp://x").wait(timeout=10, interval=0.01)
        finally:
            client._client.close()

    with pytest.raises(InferenceFailed) as caught:
        await asyncio.to_thread(work)
    assert "audio_url" in str(caught.value.detail)


async def test_it_lists_history_and_generations_and_finds_one_by_id(
    simulate: Simulate, model: str, body: dict[str, str]
) -> None:
    simulator, _ = await simulate()

    def work() -> dict[str, Any]:
        client = official(simulator.base_url)
        try:
            done = client.submit_async(model, **body).wait(timeout=10, interval=0.01)
            return {
                "done": done,
                "history": client.generations.history(per_page=100, model_name=model, status="COMPLETED"),
                "one": client.generations.get(done["request_id"]),
                "list": client.generations.list(),
                "recent": client.generations.recent(model),
            }
        finally:
            client._client.close()

    found = await asyncio.to_thread(work)
    url = found["done"]["output"]
    assert found["history"]["data"] == [found["one"]]
    assert (found["one"]["generation_url"], found["one"]["credits_deduction"]) == (url, 4.475)
    assert [row["generation_url"] for row in found["list"]["generations"]] == [url]
    assert found["list"]["generations"][0]["parameters"] == body
    assert found["recent"]["generations"][0]["status"] == "COMPLETED"


async def test_it_uploads_a_file_and_runs_the_synchronous_call(
    simulate: Simulate, tmp_path: Path, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"upload_reply_key": "file_urls"})
    picture = tmp_path / "dot.png"
    picture.write_bytes(b64decode("iVBORw0KGgo="))

    def work() -> tuple[Any, Any]:
        client = official(simulator.base_url)
        try:
            return client.files.upload(picture), client.run_sync(model, **body)
        finally:
            client._client.close()

    uploaded, reply = await asyncio.to_thread(work)
    async with session.get(uploaded["file_urls"][0]) as stored:
        assert await stored.read() == picture.read_bytes()
    assert reply.headers["content-type"] == "video/mp4"


async def test_it_reports_a_refused_key(simulate: Simulate, model: str, body: dict[str, str]) -> None:
    simulator, _ = await simulate({"access.keys_revoked": True})

    def work() -> None:
        client = SegmindClient(api_key=KEY, base_url=f"{simulator.base_url}/v1")
        try:
            client.submit_async(model, **body)
        finally:
            client._client.close()

    with pytest.raises(SegmindError) as caught:
        await asyncio.to_thread(work)
    assert caught.value.status == 401
