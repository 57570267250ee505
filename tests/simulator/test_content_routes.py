"""The bytes of a result at an address of the API, behind the key, once the job is done; and polls that are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp

from engine.simulator import Scenario, Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
    Ask = Callable[..., Awaitable[Any]]

BEARER = {"Authorization": "Bearer SG_0123456789abcdef"}
SPEAKING: dict[str, object] = {"dialect": "openai", "access.models": ["*"]}


async def accepted(ask: Ask, session: aiohttp.ClientSession) -> str:
    reply = await ask(session, "POST", "/v1/videos", json={"model": "sora-2", "prompt": "a cat"}, headers=BEARER)
    assert (reply.json["object"], reply.json["status"], reply.json["progress"]) == ("video", "queued", 0)
    return str(reply.json["id"])


async def test_the_content_is_the_film_and_asks_for_the_key(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate(SPEAKING)
    name = await accepted(ask, session)
    await simulator.idle()
    status = await ask(session, "GET", f"/v1/videos/{name}", headers=BEARER)
    assert (status.json["status"], status.json["progress"], status.json["error"]) == ("completed", 100, None)
    whole = await ask(session, "GET", f"/v1/videos/{name}/content", headers=BEARER)
    assert (whole.status, whole.headers["Content-Type"], whole.content[4:8]) == (200, "video/mp4", b"ftyp")
    part = await ask(session, "GET", f"/v1/videos/{name}/content", headers={**BEARER, "Range": "bytes=4-7"})
    assert (part.status, part.content) == (206, b"ftyp")
    assert (await ask(session, "GET", f"/v1/videos/{name}/content")).status == 401
    assert (await ask(session, "GET", "/v1/videos/none/content", headers=BEARER)).status == 404


async def test_a_failed_job_says_why_and_has_no_content(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate({**SPEAKING, "faults.failed_job": 1})
    name = await accepted(ask, session)
    await simulator.idle()
    status = await ask(session, "GET", f"/v1/videos/{name}", headers=BEARER)
    assert (status.json["status"], status.json["error"]["code"]) == ("failed", "generation_failed")
    assert (await ask(session, "GET", f"/v1/videos/{name}/content", headers=BEARER)).status == 404


async def test_a_question_is_held_until_the_job_ends(ask: Ask) -> None:
    held = {**SPEAKING, "work.status_held_s": 60, "work.duration_median_s": 0.2, "rate.requests_per_window": 0}
    async with (
        Simulator(Scenario.load("calm", held)) as simulator,
        aiohttp.ClientSession(simulator.base_url) as session,
    ):
        name = await accepted(ask, session)
        status = await ask(session, "GET", f"/v1/videos/{name}", headers=BEARER)
        assert status.json["status"] == "completed"
        assert simulator.bill().polls == 1
