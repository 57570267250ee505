"""The submission that blocks until its end: what it answers, and what goes wrong with that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.simulator import Simulator

    Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
    Ask = Callable[..., Awaitable[Any]]

SPEAKING: dict[str, object] = {"dialect": "segmind-sync"}
BODY = {"prompt": "a cat"}
PATH = "/v1/seedream-4.5"


@pytest.mark.parametrize(
    ("shape", "kind", "magic"),
    [("image", "image/png", b"\x89PNG"), ("audio", "audio/wav", b"RIFF"), ("text", "application/json", b"{")],
)
async def test_the_reply_is_the_media_or_json_with_what_it_came_to(
    simulate: Simulate, ask: Ask, shape: str, kind: str, magic: bytes
) -> None:
    simulator, session = await simulate({**SPEAKING, "output.shape": shape})
    reply = await ask(session, "POST", PATH, json=BODY)
    assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (200, kind)
    assert reply.content.startswith(magic)
    assert reply.headers["x-cost"] == "0.04"
    assert len(reply.headers["x-request-id"]) == 32
    assert float(reply.headers["x-remaining-credits"]) > 0
    assert simulator.bill().paid == 1


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_a_failure_is_an_error_in_json_and_costs_nothing(simulate: Simulate, ask: Ask, status: int) -> None:
    simulator, session = await simulate({**SPEAKING, "faults.failed_job": 1, "work.sync_failed_http_status": status})
    reply = await ask(session, "POST", PATH, json=BODY)
    assert reply.status == status
    assert "no face" in reply.json["error"]
    assert simulator.bill().paid == 0


@pytest.mark.parametrize(("fault", "paid"), [("reply_lost_before", 0), ("reply_lost_after", 1)])
async def test_a_lost_reply_was_paid_for_or_not(simulate: Simulate, ask: Ask, fault: str, paid: int) -> None:
    simulator, session = await simulate({**SPEAKING, f"faults.{fault}": 1})
    with pytest.raises(aiohttp.ClientError):
        await ask(session, "POST", PATH, json=BODY)
    await simulator.idle()
    assert simulator.bill().paid == paid


async def test_nothing_else_can_be_asked_about(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate(SPEAKING)
    assert (await ask(session, "POST", "/v2/seedream-4.5", json=BODY)).status == 404
    name = (await ask(session, "POST", PATH, json=BODY)).headers["x-request-id"]
    assert (await ask(session, "GET", f"/v2/requests/{name}/status")).status == 404
    row = await ask(session, "GET", f"{simulator.history_url}/request-history/{name}")
    assert row.status == 200
