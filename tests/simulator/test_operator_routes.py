from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from engine.simulator import Bill, Fault, Simulator

Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
Ask = Callable[..., Awaitable[Any]]
Finished = Callable[[Simulator, aiohttp.ClientSession], Awaitable[str]]

pytestmark = pytest.mark.sockets


async def test_the_route_and_the_object_give_the_same_bill(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate()
    await finished(simulator, session)
    reply = await ask(session, "GET", "/_simulator/bill")
    assert msgspec.json.decode(reply.content, type=Bill) == simulator.bill()


async def test_the_bill_can_leave_the_bodies_out(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate()
    await finished(simulator, session)
    bill = (await ask(session, "GET", "/_simulator/bill", params={"bodies": "0"})).json
    assert (bill["paid"], bill["bodies"]) == (1, [])


async def test_the_operator_needs_no_key_and_leaves_no_trace_in_the_counts(simulate: Simulate, ask: Ask) -> None:
    simulator, _ = await simulate()
    async with aiohttp.ClientSession(simulator.base_url) as keyless:
        health = await ask(keyless, "GET", "/_simulator/health")
    assert health.json == {
        "status": "ok",
        "scenario": "calm",
        "in_flight": 0,
        "base_url": simulator.base_url,
        "media_url": simulator.media_url,
    }
    assert (simulator.bill().requests_in_window_max, simulator.bill().replies) == (0, {})


async def test_credits_are_topped_up(simulate: Simulate, ask: Ask) -> None:
    _, session = await simulate({"credits.start_usd": 1})
    assert (await ask(session, "POST", "/_simulator/credits", json={"add": 50})).json == {
        "credits": 51.0,
        "reserved": 0.0,
    }
    assert (await ask(session, "GET", "/v1/get-user-credits")).json == {"credits": 51.0, "free-credits": 0.0}


@pytest.mark.parametrize("order", [{}, {"add": "50"}, {"add": True}, [50]])
async def test_a_top_up_that_names_no_amount_is_refused(simulate: Simulate, ask: Ask, order: object) -> None:
    _, session = await simulate()
    assert (await ask(session, "POST", "/_simulator/credits", json=order)).status == 400


async def test_knobs_turn_while_the_simulator_runs(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate()
    changes = {"faults.poll_lost": 0.5, "work": {"workers": 3}, "access.keys_revoked": True}
    reply = await ask(session, "POST", "/_simulator/scenario", json=changes)
    assert (reply.status, reply.json["faults"]["poll_lost"], reply.json["work"]["workers"]) == (200, 0.5, 3)
    assert simulator.scenario.faults[Fault.POLL_LOST] == 0.5
    assert (await ask(session, "GET", "/_simulator/scenario")).json == reply.json
    assert (await ask(session, "GET", "/v1/get-user-credits")).status == 401


async def test_more_workers_take_waiting_jobs_at_once(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"work.workers": 1, "work.duration_median_s": 60})
    urls = [(await ask(session, "POST", f"/v2/{model}", json=body)).json["status_url"] for _ in range(2)]
    simulator.change({"work.workers": 2})
    assert [(await ask(session, "GET", url)).json["status"] for url in urls] == ["PROCESSING"] * 2


async def test_a_knob_that_does_not_exist_is_refused_and_nothing_changes(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate()
    before = simulator.scenario
    reply = await ask(session, "POST", "/_simulator/scenario", json={"faults.pol_lost": 1, "work.workers": 3})
    assert (reply.status, "did you mean 'poll_lost'?" in reply.json["error"]) == (400, True)
    assert simulator.scenario == before


async def test_the_faults_explain_themselves(simulate: Simulate, ask: Ask) -> None:
    _, session = await simulate()
    assert set((await ask(session, "GET", "/_simulator/faults")).json) == {str(fault) for fault in Fault}
