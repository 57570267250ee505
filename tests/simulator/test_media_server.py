from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from engine.simulator import Simulator

Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
Ask = Callable[..., Awaitable[Any]]
Finished = Callable[[Simulator, aiohttp.ClientSession], Awaitable[str]]

pytestmark = pytest.mark.sockets


async def test_a_range_with_the_same_etag_continues_where_a_download_stopped(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate()
    url = f"{simulator.media_url}/generations/{await finished(simulator, session)}-0.mp4"
    whole = await ask(session, "GET", url)
    headers = {"Range": "bytes=1000-", "If-Range": whole.headers["ETag"]}
    rest = await ask(session, "GET", url, headers=headers)
    size = len(whole.content)
    assert (rest.status, rest.content) == (206, whole.content[1000:])
    assert rest.headers["Content-Range"] == f"bytes 1000-{size - 1}/{size}"
    assert whole.headers["Accept-Ranges"] == "bytes"
    outside = await ask(session, "GET", url, headers={"Range": f"bytes={size}-"})
    assert (outside.status, outside.headers["Content-Range"]) == (416, f"bytes */{size}")


async def test_a_weak_or_missing_etag_never_continues(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate({"downloads.etag": "weak"})
    url = f"{simulator.media_url}/generations/{await finished(simulator, session)}-0.mp4"
    tag = (await ask(session, "GET", url)).headers["ETag"]
    assert tag.startswith('W/"')
    assert (await ask(session, "GET", url, headers={"Range": "bytes=9-", "If-Range": tag})).status == 200
    simulator.change({"downloads.etag": "none"})
    assert "ETag" not in (await ask(session, "GET", url)).headers


async def test_without_range_support_a_range_gets_the_whole_file(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate({"downloads.ranges": False})
    url = f"{simulator.media_url}/generations/{await finished(simulator, session)}-0.mp4"
    reply = await ask(session, "GET", url, headers={"Range": "bytes=9-"})
    assert (reply.status, "Accept-Ranges" in reply.headers, reply.content[4:8]) == (200, False, b"ftyp")


async def test_the_output_host_needs_no_key_and_reports_every_request_that_brings_one(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate()
    path = f"/generations/{await finished(simulator, session)}-0.mp4"
    async with aiohttp.ClientSession(simulator.media_url) as keyless:
        assert (await ask(keyless, "GET", path)).status == 200
        assert simulator.bill().key_leaks == 0
        await ask(keyless, "GET", path, headers={"Authorization": "Bearer x"})
        await ask(keyless, "GET", path, params={"k": "SG_0123456789abcdef"})
    await ask(session, "GET", f"{simulator.media_url}{path}")
    await ask(session, "POST", f"{simulator.media_url}/elsewhere")
    bill = simulator.bill()
    assert (bill.key_leaks, bill.key_leak_requests) == (4, [f"GET {path}"] * 3 + ["POST /elsewhere"])


async def test_the_api_and_the_output_host_are_two_origins(simulate: Simulate) -> None:
    simulator, _ = await simulate()
    assert simulator.base_url != simulator.media_url


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_file_ends_its_life(simulate: Simulate, ask: Ask, finished: Finished, status: int) -> None:
    simulator, session = await simulate({"retention.file_life_s": 0, "retention.expired_http_status": status})
    url = f"{simulator.media_url}/generations/{await finished(simulator, session)}-0.mp4"
    assert (await ask(session, "GET", url)).status == status


async def test_a_file_of_any_size_is_streamed(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate({"output.file_bytes": 3_000_000})
    url = f"{simulator.media_url}/generations/{await finished(simulator, session)}-0.mp4"
    reply = await ask(session, "GET", url)
    assert (len(reply.content), reply.headers["Content-Length"]) == (3_000_000, "3000000")
    head = await ask(session, "HEAD", url)
    assert (head.status, head.headers["Content-Length"], head.content) == (200, "3000000", b"")


async def test_only_finished_jobs_have_a_file(simulate: Simulate, ask: Ask, model: str, body: dict[str, str]) -> None:
    simulator, session = await simulate({"work.duration_median_s": 60})
    request_id = (await ask(session, "POST", f"/v2/{model}", json=body)).json["request_id"]
    for name in (f"{request_id}-0.mp4", f"{'0' * 32}-0.mp4", "..%2fetc", f"{request_id}-9.mp4"):
        assert (await ask(session, "GET", f"{simulator.media_url}/generations/{name}")).status == 404


async def test_a_redirect_can_lead_anywhere(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate(
        {"faults.download_redirect": 1, "downloads.redirect_location": "file:///etc/passwd"}
    )
    url = f"{simulator.media_url}/generations/{await finished(simulator, session)}-0.mp4"
    reply = await ask(session, "GET", url)
    assert (reply.status, reply.headers["Location"]) == (302, "file:///etc/passwd")


async def test_a_body_without_length_can_be_dropped_in_the_middle(simulate: Simulate, finished: Finished) -> None:
    simulator, session = await simulate({"faults.download_no_length": 1, "faults.download_dropped": 1})
    url = f"{simulator.media_url}/generations/{await finished(simulator, session)}-0.mp4"
    size = simulator._world.clip(url.rpartition("/")[2]).size_bytes
    async with session.get(url) as response:
        try:
            content = await response.read()
        except aiohttp.ClientError:
            content = b""
    assert len(content) < size
