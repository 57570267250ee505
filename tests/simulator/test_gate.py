from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest

from engine.simulator import Simulator

Skip = Callable[[float], None]
Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
Ask = Callable[..., Awaitable[Any]]
Finished = Callable[[Simulator, aiohttp.ClientSession], Awaitable[str]]

pytestmark = pytest.mark.sockets


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "nonsense"},
        {"x-api-key": "SG_0123456789abcde"},
        {"x-api-key": ""},
        {"Authorization": "Bearer SG_0123456789abcdef"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/get-user-credits", "/inference-request/request-history", "/v2/requests/x"])
async def test_a_missing_malformed_or_bearer_key_is_401_with_the_long_envelope(
    simulate: Simulate, ask: Ask, headers: dict[str, str], path: str
) -> None:
    simulator, _ = await simulate()
    async with aiohttp.ClientSession(simulator.base_url, headers=headers) as session:
        reply = await ask(session, "GET", path)
    assert (reply.status, reply.json["status_code"]) == (401, 401)
    assert set(reply.json) == {"error", "error_description", "status_code"}


async def test_only_listed_keys_are_accepted_and_all_can_be_revoked(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate({"access.accepted_keys": ["SG_aaaaaaaaaaaaaaaa"]})
    assert (await ask(session, "GET", "/v1/get-user-credits")).status == 401
    good = {"x-api-key": "SG_aaaaaaaaaaaaaaaa"}
    assert (await ask(session, "GET", "/v1/get-user-credits", headers=good)).status == 200
    simulator.change({"access.keys_revoked": True})
    assert (await ask(session, "GET", "/v1/get-user-credits", headers=good)).status == 401


async def test_a_wrong_method_is_405_in_html(simulate: Simulate, ask: Ask, model: str) -> None:
    _, session = await simulate()
    reply = await ask(session, "GET", f"/v2/{model}")
    assert (reply.status, reply.content[:6]) == (405, b"<html>")


async def test_an_unknown_path_is_404_in_json(simulate: Simulate, ask: Ask) -> None:
    _, session = await simulate()
    reply = await ask(session, "GET", "/v3/x")
    assert (reply.status, set(reply.json)) == (404, {"error"})


async def test_the_submit_over_the_plan_is_429_until_the_window_has_room(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str], skip: Skip
) -> None:
    simulator, session = await simulate({"rate.requests_per_window": 3, "rate.window_s": 30})
    statuses = [(await ask(session, "POST", f"/v2/{model}", json=body)).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert (await ask(session, "GET", "/v1/get-user-credits")).status == 200
    skip(31)
    assert (await ask(session, "POST", f"/v2/{model}", json=body)).status == 200
    bill = simulator.bill()
    assert (bill.submits, bill.accepted, bill.rate_limited) == (6, 4, 2)
    assert (bill.submits_in_window_max, bill.window_s) == (5, 30)


async def test_every_request_can_count_against_the_plan(simulate: Simulate, ask: Ask) -> None:
    _, session = await simulate({"rate.requests_per_window": 2, "rate.counts": "all"})
    statuses = [(await ask(session, "GET", "/v1/get-user-credits")).status for _ in range(3)]
    assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    ("header", "name", "pattern"),
    [
        ("iso_z", "x-rate-limit-reset-at-utc", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
        ("iso_naive", "x-rate-limit-reset-at-utc", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"),
        ("space", "x-rate-limit-reset-at-utc", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
        ("epoch_s", "x-rate-limit-reset-at-utc", r"\d{10}"),
        ("epoch_ms", "x-rate-limit-reset-at-utc", r"\d{13}"),
        ("http_date", "x-rate-limit-reset-at-utc", r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"),
        ("retry_after", "Retry-After", r"60"),
        ("none", None, None),
    ],
)
async def test_the_429_carries_its_header_in_each_notation(
    *,
    simulate: Simulate,
    ask: Ask,
    model: str,
    body: dict[str, str],
    header: str,
    name: str | None,
    pattern: str | None,
) -> None:
    _, session = await simulate({"rate.requests_per_window": 1, "rate.header": header})
    await ask(session, "POST", f"/v2/{model}", json=body)
    reply = await ask(session, "POST", f"/v2/{model}", json=body)
    assert (reply.status, set(reply.json)) == (429, {"error"})
    hints = {key for key in reply.headers if key.lower() in ("x-rate-limit-reset-at-utc", "retry-after")}
    assert {hint.lower() for hint in hints} == ({name.lower()} if name else set())
    if name and pattern:
        assert re.fullmatch(pattern, reply.headers[name])


async def test_the_429_can_carry_any_headers_literally(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    literal = [["Retry-After", "-5"], ["Retry-After", "nan"]]
    _, session = await simulate(
        {"rate.requests_per_window": 1, "rate.header": "literal", "rate.literal_headers": literal}
    )
    await ask(session, "POST", f"/v2/{model}", json=body)
    reply = await ask(session, "POST", f"/v2/{model}", json=body)
    assert reply.headers.getall("Retry-After") == ["-5", "nan"]


async def test_the_servers_clock_can_be_wrong_and_its_date_says_so(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    _, session = await simulate(
        {"clock_offset_s": 7 * 86400, "rate.requests_per_window": 1, "rate.header": "http_date"}
    )
    await ask(session, "POST", f"/v2/{model}", json=body)
    headers = (await ask(session, "POST", f"/v2/{model}", json=body)).headers
    told = parsedate_to_datetime(headers["x-rate-limit-reset-at-utc"]) - parsedate_to_datetime(headers["Date"])
    assert 58 <= told.total_seconds() <= 61
    assert (parsedate_to_datetime(headers["Date"]) - datetime.now(UTC)).days in (6, 7)


@pytest.mark.parametrize("outage", ["drop", "error_503", "stall"])
async def test_an_outage_meets_every_host_but_not_the_operator_nor_running_jobs(
    *, simulate: Simulate, ask: Ask, finished: Finished, model: str, body: dict[str, str], outage: str
) -> None:
    simulator, session = await simulate({"fault_details.reply_stalled_s": 0.02, "work.duration_median_s": 0.05})
    request_id = await finished(simulator, session)
    await ask(session, "POST", f"/v2/{model}", json=body)
    simulator.change({"outage": outage})
    for url in (
        f"/v2/requests/{request_id}",
        f"{simulator.history_url}/request-history",
        f"{simulator.media_url}/generations/{request_id}-0.mp4",
    ):
        if outage == "error_503":
            assert (await ask(session, "GET", url)).status == 503
        else:
            with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
                await ask(session, "GET", url)
    assert (await ask(session, "GET", "/_simulator/health")).status == 200
    await simulator.idle()
    assert simulator.bill().paid == 2
    simulator.change({"outage": "none"})
    assert (await ask(session, "GET", f"/v2/requests/{request_id}")).status == 200


async def test_replies_are_counted_by_status(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate()
    await finished(simulator, session)
    await ask(session, "GET", "/v2/requests/none")
    assert simulator.bill().replies == {"200": 1, "404": 1}


async def test_a_bug_in_a_route_shows_in_the_bill(
    simulate: Simulate, ask: Ask, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator, session = await simulate()
    with monkeypatch.context() as patch:
        patch.setattr(simulator._world, "find", Mock(side_effect=ZeroDivisionError))
        assert (await ask(session, "GET", "/v2/requests/none")).status == 500
    assert "ZeroDivisionError" in simulator.bill().last_internal_error
    simulator._world.books.counts["internal_errors"] = 0
