from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from engine.simulator import Simulator

Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
Ask = Callable[..., Awaitable[Any]]

pytestmark = pytest.mark.sockets


async def test_a_submit_is_answered_with_an_id_and_three_urls(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    reply = await ask(session, "POST", f"/v2/{model}", json=body)
    request_id = reply.json["request_id"]
    record = f"{simulator.base_url}/v2/requests/{request_id}"
    assert reply.status == 200
    assert reply.json == {
        "request_id": request_id,
        "status": "QUEUED",
        "status_url": f"{record}/status",
        "response_url": record,
        "poll_url": f"{record}/status",
    }
    assert len(request_id) == 32
    assert set(request_id) <= set("0123456789abcdef")


async def test_every_post_of_the_same_body_is_a_new_paid_job(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    ids = {(await ask(session, "POST", f"/v2/{model}", json=body)).json["request_id"] for _ in range(3)}
    await ask(session, "POST", f"/v2/{model}", json={**body, "prompt": "another"})
    await simulator.idle()
    bill = simulator.bill()
    first = bill.bodies[0]
    assert len(ids) == 3
    assert (first.body, first.model, first.accepted, first.paid, set(first.request_ids)) == (body, model, 3, 3, ids)
    assert (bill.accepted, bill.paid, bill.paid_more_than_once, bill.paid_surplus) == (4, 4, 1, 2)
    assert bill.billed_usd == 4 * 4.475


async def test_the_order_of_keys_makes_no_second_body(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    await ask(session, "POST", f"/v2/{model}", json=body)
    await ask(session, "POST", f"/v2/{model}", json=dict(reversed(body.items())))
    assert [account.accepted for account in simulator.bill().bodies] == [2]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_another_content_type_is_refused_with_406(
    simulate: Simulate, ask: Ask, model: str, content_type: str
) -> None:
    _, session = await simulate()
    reply = await ask(session, "POST", f"/v2/{model}", data=b"{}", headers={"Content-Type": content_type})
    assert (reply.status, reply.json) == (406, {"error": "Invalid content type"})


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"a":NaN}'])
async def test_a_body_that_is_no_json_object_is_refused_with_400(
    simulate: Simulate, ask: Ask, model: str, raw: bytes
) -> None:
    simulator, session = await simulate()
    reply = await ask(session, "POST", f"/v2/{model}", data=raw, headers={"Content-Type": "application/json"})
    assert (reply.status, set(reply.json), simulator.bill().accepted) == (400, {"error"}, 0)


@pytest.mark.parametrize(("knob", "status"), [("access.retired_models", 410), ("access.forbidden_models", 403)])
async def test_a_model_can_be_retired_or_forbidden(
    *, simulate: Simulate, ask: Ask, model: str, body: dict[str, str], knob: str, status: int
) -> None:
    _, session = await simulate({knob: [model]})
    assert (await ask(session, "POST", f"/v2/{model}", json=body)).status == status


async def test_an_unknown_model_is_404_unless_any_name_is_accepted(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate()
    assert (await ask(session, "POST", "/v2/no-such-model", json={})).status == 404
    simulator.change({"access.models": ["*"]})
    assert (await ask(session, "POST", "/v2/no-such-model", json={})).status == 200


async def test_bad_inputs_are_accepted_and_fail_after_queueing_unpaid(simulate: Simulate, ask: Ask, model: str) -> None:
    simulator, session = await simulate()
    reply = await ask(session, "POST", f"/v2/{model}", json={"image_url": "https://example.com/a.png"})
    assert reply.status == 200
    await simulator.idle()
    for url in (reply.json["status_url"], reply.json["response_url"]):
        failed = await ask(session, "GET", url)
        assert (failed.status, failed.json["status"]) == (422, "FAILED")
        assert "audio_url" in failed.json["error"]
        assert 0.002 < failed.json["metrics"]["inference_time"] < 1
    assert (simulator.bill().paid, simulator.bill().failed) == (0, 1)


@pytest.mark.parametrize("status", [402, 406])
async def test_credits_run_out_while_the_balance_still_shows_them(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str], status: int
) -> None:
    simulator, session = await simulate(
        {"work.duration_median_s": 60, "credits.start_usd": 5, "credits.refusal_http_status": status}
    )
    statuses = [(await ask(session, "POST", f"/v2/{model}", json=body)).status for _ in range(2)]
    assert statuses == [200, status]
    assert (await ask(session, "GET", "/v1/get-user-credits")).json["credits"] == 5
    simulator.add_credits(50)
    assert (await ask(session, "POST", f"/v2/{model}", json=body)).status == 200


async def test_a_failed_job_gives_its_reservation_back(simulate: Simulate, ask: Ask, model: str) -> None:
    simulator, session = await simulate({"credits.start_usd": 5})
    for _ in range(3):
        assert (await ask(session, "POST", f"/v2/{model}", json={})).status == 200
        await simulator.idle()


async def test_the_team_limit_is_406_with_its_own_words(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    _, session = await simulate({"credits.team_limit_usd": 1})
    reply = await ask(session, "POST", f"/v2/{model}", json=body)
    assert (reply.status, "limit" in reply.json["error"]) == (406, True)


async def test_an_accepted_job_whose_reply_was_lost_is_paid(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"faults.reply_lost_after": 1, "fault_details.repeats_max": 1})
    with pytest.raises(aiohttp.ClientOSError):
        await ask(session, "POST", f"/v2/{model}", json=body)
    assert (await ask(session, "POST", f"/v2/{model}", json=body)).status == 200
    await simulator.idle()
    assert simulator.bill().paid_more_than_once == 1


async def test_a_job_without_a_worker_waits_in_the_queue(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"work.workers": 1, "work.duration_median_s": 60})
    urls = [(await ask(session, "POST", f"/v2/{model}", json=body)).json["status_url"] for _ in range(3)]
    assert [(await ask(session, "GET", url)).json["status"] for url in urls] == ["PROCESSING", "QUEUED", "QUEUED"]
    assert simulator.bill().in_flight_max == 3


async def test_queue_time_is_the_real_wait_for_a_worker(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"work.workers": 1, "work.duration_median_s": 0.15})
    submits = await asyncio.gather(*(ask(session, "POST", f"/v2/{model}", json=body) for _ in range(3)))
    await simulator.idle()
    answers = [(await ask(session, "GET", submit.json["status_url"])).json for submit in submits]
    first, second, third = sorted(answer["metrics"]["queue_time"] for answer in answers)
    assert first < 0.05 < second < third


async def test_the_same_seed_gives_the_same_durations_in_any_order(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    async def durations(order: list[int]) -> dict[str, float]:
        simulator, session = await simulate({"work.duration_median_s": 60, "work.duration_sigma": 0.5})
        for number in order:
            await ask(session, "POST", f"/v2/{model}", json={**body, "prompt": str(number)})
        return {job.body_sha256: job.duration_s for job in simulator._world.jobs.values()}

    found = await durations([1, 2, 3, 4])
    assert found == await durations([4, 2, 1, 3])
    assert len(set(found.values())) == 4


async def test_a_share_of_jobs_can_be_slower_by_a_factor(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"work.duration_median_s": 10, "work.slow_share": 0.5, "work.slow_factor": 4})
    for number in range(20):
        await ask(session, "POST", f"/v2/{model}", json={**body, "prompt": str(number)})
    assert {round(job.duration_s) for job in simulator._world.jobs.values()} == {10, 40}


async def test_the_synchronous_call_blocks_and_answers_the_media(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    reply = await ask(session, "POST", f"/v1/{model}", json=body)
    assert (reply.status, reply.content[4:8], reply.headers["x-cost"]) == (200, b"ftyp", "4.475")
    assert reply.headers["x-request-id"] in simulator.bill().bodies[0].request_ids
    refused = await ask(session, "POST", f"/v1/{model}", json={})
    assert (refused.status, "image_url" in refused.json["error"]) == (400, True)
    simulator.change({"output.shape": "text"})
    assert "output" in (await ask(session, "POST", "/v1/gpt-5.5", json={"prompt": "x"})).json


async def test_a_client_that_hangs_up_in_a_stall_leaves_nothing_behind(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"faults.reply_stalled": 1})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await ask(session, "POST", f"/v2/{model}", json=body)
    assert simulator.bill().accepted == 1
