from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from engine.simulator import Simulator

Skip = Callable[[float], None]
Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]
Ask = Callable[..., Awaitable[Any]]
Finished = Callable[[Simulator, aiohttp.ClientSession], Awaitable[str]]

pytestmark = pytest.mark.sockets


ROWS: dict[str, Callable[[Any], Any]] = {
    "data": lambda page: page["data"],
    "results": lambda page: page["results"],
    "items": lambda page: page["items"],
    "nested": lambda page: page["data"]["requests"],
    "bare": lambda page: page,
}


async def test_a_row_tells_what_was_sent_what_it_cost_and_where_it_is(
    *, simulate: Simulate, ask: Ask, finished: Finished, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    request_id = await finished(simulator, session)
    (row,) = (await ask(session, "GET", f"{simulator.history_url}/request-history")).json["data"]
    assert (row["request_id"], row["model_name"], row["model_status"]) == (request_id, model, "COMPLETED")
    assert (row["credits_deduction"], row["error"]) == (4.475, None)
    assert body.items() < row["request_body"].items()
    assert (await ask(session, "GET", row["generation_url"])).status == 200
    assert row["model_created"].endswith("Z")
    assert (await ask(session, "GET", f"{simulator.history_url}/request-history/{request_id}")).json == row


async def test_failed_and_running_requests_are_listed_too(
    *, simulate: Simulate, ask: Ask, finished: Finished, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    await finished(simulator, session)
    await ask(session, "POST", f"/v2/{model}", json={})
    await simulator.idle()
    simulator.change({"work.duration_median_s": 60})
    await ask(session, "POST", f"/v2/{model}", json=body)
    url = f"{simulator.history_url}/request-history"
    rows = (await ask(session, "GET", url)).json["data"]
    assert [row["model_status"] for row in rows] == ["PENDING", "FAILED", "COMPLETED"]
    assert [row["generation_url"] is None for row in rows] == [True, True, False]
    for status in ("PENDING", "FAILED", "COMPLETED"):
        only = (await ask(session, "GET", url, params={"status": status})).json["data"]
        assert [row["model_status"] for row in only] == [status]
    oldest_first = (await ask(session, "GET", url, params={"sort_order": "asc"})).json["data"]
    assert oldest_first == rows[::-1]


async def test_rows_lag(simulate: Simulate, ask: Ask, finished: Finished, skip: Skip) -> None:
    simulator, session = await simulate({"history.lag_s": 7200})
    request_id = await finished(simulator, session)
    url = f"{simulator.history_url}/request-history"
    assert (await ask(session, "GET", url)).json["data"] == []
    assert (await ask(session, "GET", f"{url}/{request_id}")).status == 404
    skip(7201)
    assert len((await ask(session, "GET", url)).json["data"]) == 1
    assert (await ask(session, "GET", f"{url}/{request_id}")).status == 200


async def test_pages_follow_each_other_without_gap_or_overlap(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    sent = [
        (await ask(session, "POST", f"/v2/{model}", json={**body, "prompt": str(number)})).json["request_id"]
        for number in range(25)
    ]
    seen: list[str] = []
    for page in (1, 2, 3, 4):
        query = {"page": page, "per_page": 10}
        reply = (await ask(session, "GET", f"{simulator.history_url}/request-history", params=query)).json
        assert (reply["total"], reply["page"], reply["per_page"]) == (25, page, 10)
        seen += [row["request_id"] for row in reply["data"]]
    assert seen == sent[::-1]


async def test_a_request_with_several_outputs_has_a_row_for_each(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate({"output.files_per_job": 3})
    request_id = await finished(simulator, session)
    rows = (await ask(session, "GET", f"{simulator.history_url}/request-history")).json["data"]
    assert [row["request_id"] for row in rows] == [request_id] * 3
    assert len({row["generation_url"] for row in rows}) == 3
    assert {row["credits_deduction"] for row in rows} == {4.475}


async def test_every_row_can_come_more_than_once(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate({"history.row_copies": 2})
    await finished(simulator, session)
    first, second = (await ask(session, "GET", f"{simulator.history_url}/request-history")).json["data"]
    assert first == second


@pytest.mark.parametrize("envelope", ROWS)
async def test_each_envelope_holds_the_same_rows(
    simulate: Simulate, ask: Ask, finished: Finished, envelope: str
) -> None:
    simulator, session = await simulate({"history.envelope": envelope})
    request_id = await finished(simulator, session)
    page = (await ask(session, "GET", f"{simulator.history_url}/request-history")).json
    assert [row["request_id"] for row in ROWS[envelope](page)] == [request_id]


@pytest.mark.parametrize(
    "query",
    [
        {"per_page": "101"},
        {"per_page": "0"},
        {"page": "0"},
        {"page": "x"},
        {"status": "DONE"},
        {"from_date": "2026-01-01", "to_date": "2026-02-02"},
        {"from_date": "2026-01-02", "to_date": "2026-01-01"},
        {"to_date": "yesterday"},
    ],
)
async def test_a_query_outside_the_rules_is_400(simulate: Simulate, ask: Ask, query: dict[str, str]) -> None:
    simulator, session = await simulate()
    reply = await ask(session, "GET", f"{simulator.history_url}/request-history", params=query)
    assert (reply.status, set(reply.json)) == (400, {"error"})


async def test_the_window_of_dates_and_the_model_name_filter(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate()
    await finished(simulator, session)
    url = f"{simulator.history_url}/request-history"
    old = {"from_date": "2020-01-01", "to_date": "2020-01-31"}
    assert (await ask(session, "GET", url, params=old)).json["data"] == []
    assert len((await ask(session, "GET", url, params={"model_name": "avatar"})).json["data"]) == 1
    assert (await ask(session, "GET", url, params={"model_name": "veo"})).json["data"] == []


async def test_the_body_can_come_as_text_and_times_in_another_notation(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate({"history.body_as_text": True, "history.timestamps": "epoch_ms"})
    await finished(simulator, session)
    (row,) = (await ask(session, "GET", f"{simulator.history_url}/request-history")).json["data"]
    assert row["request_body"].startswith("{")
    assert row["model_created"].isdecimal()


async def test_the_history_costs_no_room_in_the_plan_but_is_counted(simulate: Simulate, ask: Ask) -> None:
    simulator, session = await simulate({"rate.requests_per_window": 1, "rate.counts": "all"})
    for _ in range(3):
        assert (await ask(session, "GET", f"{simulator.history_url}/request-history")).status == 200
    bill = simulator.bill()
    assert (bill.history_requests, bill.history_requests_per_s_max, bill.requests_in_window_max) == (3, 3, 0)


async def test_a_listed_row_lags_behind_its_job(
    *, simulate: Simulate, ask: Ask, model: str, body: dict[str, str], skip: Skip
) -> None:
    simulator, session = await simulate({"history.lag_s": 60, "work.duration_median_s": 0.01})
    await ask(session, "POST", f"/v2/{model}", json=body)
    skip(45)
    await simulator.idle()
    skip(30)
    url = f"{simulator.history_url}/request-history"
    assert [row["model_status"] for row in (await ask(session, "GET", url)).json["data"]] == ["PENDING"]
    skip(60)
    assert [row["model_status"] for row in (await ask(session, "GET", url)).json["data"]] == ["COMPLETED"]


@pytest.mark.parametrize(("sort_by", "order"), [("model_name", "asc"), ("credits_deduction", "desc")])
async def test_rows_can_be_sorted_by_model_or_price(simulate: Simulate, ask: Ask, sort_by: str, order: str) -> None:
    simulator, session = await simulate()
    for model in ("veo-3", "hallo", "sadtalker"):
        await ask(session, "POST", f"/v2/{model}", json={"prompt": "x"})
    query = {"sort_by": sort_by, "sort_order": order}
    rows = (await ask(session, "GET", f"{simulator.history_url}/request-history", params=query)).json["data"]
    expected = {"asc": ["hallo", "sadtalker", "veo-3"], "desc": ["veo-3", "hallo", "sadtalker"]}
    assert [row["model_name"] for row in rows] == expected[order]
