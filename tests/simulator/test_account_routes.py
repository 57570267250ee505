from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from engine.simulator import Simulator

Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
Ask = Callable[..., Awaitable[Any]]
Finished = Callable[[Simulator, aiohttp.ClientSession], Awaitable[str]]

pytestmark = pytest.mark.sockets


async def test_the_balance_falls_by_the_price_of_a_completed_job(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate({"credits.start_usd": 12.5, "credits.free_usd": 0.01})
    assert (await ask(session, "GET", "/v1/get-user-credits")).json == {"credits": 12.5, "free-credits": 0.01}
    await finished(simulator, session)
    assert (await ask(session, "GET", "/v1/get-user-credits")).json["credits"] == 8.025
    assert simulator.bill().credit_checks == 2


@pytest.mark.parametrize("key", ["urls", "file_urls"])
async def test_an_upload_is_served_from_the_output_host(simulate: Simulate, ask: Ask, key: str) -> None:
    simulator, session = await simulate({"upload_reply_key": key})
    data_url = "data:audio/mpeg;base64," + b64encode(b"sound").decode()
    reply = await ask(session, "POST", "/upload-asset", json={"data_urls": [data_url]})
    (url,) = reply.json[key]
    assert url.startswith(simulator.media_url)
    stored = await ask(session, "GET", url)
    assert (stored.content, stored.headers["Content-Type"]) == (b"sound", "audio/mpeg")


@pytest.mark.parametrize(
    "order", [{}, {"data_urls": "x"}, {"data_urls": ["https://x"]}, {"data_urls": ["data:a/b;base64,!"]}]
)
async def test_an_upload_that_holds_no_data_url_is_refused(simulate: Simulate, ask: Ask, order: object) -> None:
    _, session = await simulate()
    assert (await ask(session, "POST", "/upload-asset", json=order)).status == 400


async def test_only_the_newest_uploads_are_kept(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate()
    data_urls = ["data:image/png;base64," + b64encode(b"%d" % number).decode() for number in range(300)]
    urls = (await ask(session, "POST", "/upload-asset", json={"data_urls": data_urls})).json["urls"]
    assert len(simulator._world.assets) == 256
    assert [(await ask(session, "GET", urls[place])).status for place in (0, -1)] == [404, 200]
