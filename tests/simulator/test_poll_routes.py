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


SHAPES: dict[str, Callable[[Any], Any]] = {
    "documented": lambda body: body["output"],
    "output_url": lambda body: body["output"],
    "video_url": lambda body: body["video"]["url"],
    "output_object_url": lambda body: body["output"]["url"],
    "output_object_video_url": lambda body: body["output"]["video_url"],
    "output_object_media_url": lambda body: body["output"]["media_url"][0],
    "output_list": lambda body: body["output"][0],
    "output_list_objects": lambda body: body["output"][0]["url"],
    "images": lambda body: body["images"][0]["url"],
    "image": lambda body: body["image"]["url"],
    "audio": lambda body: body["audio"]["url"],
}


async def test_a_completed_job_has_the_documented_result(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate({"credits.start_usd": 100})
    request_id = await finished(simulator, session)
    reply = await ask(session, "GET", f"/v2/requests/{request_id}")
    url = f"{simulator.media_url}/generations/{request_id}-0.mp4"
    file = await ask(session, "GET", url)
    assert (reply.status, reply.json["status"], reply.json["error"]) == (200, "COMPLETED", None)
    assert reply.json["output"] == url
    assert reply.json["video"] == {
        "url": url,
        "content_type": "video/mp4",
        "file_name": f"{request_id}-0.mp4",
        "file_size": str(len(file.content)),
    }
    metrics = reply.json["metrics"]
    assert (metrics["cost"], metrics["remaining_credits"]) == (4.475, 95.525)
    assert metrics["total_time"] >= metrics["inference_time"] > 0
    assert metrics["queue_time"] >= 0


async def test_a_running_job_says_so_on_both_urls(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str]
) -> None:
    _, session = await simulate({"work.duration_median_s": 60})
    submitted = await ask(session, "POST", f"/v2/{model}", json=body)
    for url in (submitted.json["status_url"], submitted.json["response_url"]):
        reply = await ask(session, "GET", url)
        assert (reply.status, reply.json["status"], reply.json["metrics"]) == (200, "PROCESSING", {})


async def test_an_unknown_id_is_404_with_the_documented_text(simulate: Simulate, ask: Ask) -> None:
    _, session = await simulate()
    reply = await ask(session, "GET", "/v2/requests/abc/status")
    assert (reply.status, reply.json) == (404, {"error": "Request abc not found"})


async def test_a_record_ends_its_life_an_hour_after_the_submit_but_the_job_is_still_billed(
    simulate: Simulate, ask: Ask, model: str, body: dict[str, str], skip: Skip
) -> None:
    simulator, session = await simulate({"work.duration_median_s": 0.3})
    submitted = (await ask(session, "POST", f"/v2/{model}", json=body)).json
    assert (await ask(session, "GET", submitted["status_url"])).status == 200
    skip(3600)
    assert (await ask(session, "GET", submitted["status_url"])).status == 404
    assert simulator.bill().in_flight == 1
    await simulator.idle()
    assert (await ask(session, "GET", submitted["response_url"])).status == 404
    assert simulator.bill().paid == 1
    rescued = await ask(session, "GET", f"{simulator.history_url}/request-history/{submitted['request_id']}")
    assert (await ask(session, "GET", rescued.json["generation_url"])).status == 200


async def test_a_failed_job_can_come_under_200(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate(
        {"faults.failed_job": 1, "work.failed_http_status": 200, "work.failed_error": "no face"}
    )
    reply = await ask(session, "GET", f"/v2/requests/{await finished(simulator, session)}/status")
    assert (reply.status, reply.json["status"], reply.json["error"]) == (200, "FAILED", "no face")


@pytest.mark.parametrize(("kind", "status"), [("processing", 200), ("not_found", 404), ("error_500", 500)])
async def test_a_result_that_is_not_ready_says_so_in_the_chosen_way(
    simulate: Simulate, ask: Ask, finished: Finished, kind: str, status: int
) -> None:
    simulator, session = await simulate({"faults.result_not_ready": 1, "fault_details.result_not_ready_as": kind})
    assert (await ask(session, "GET", f"/v2/requests/{await finished(simulator, session)}")).status == status


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_output_shape_leads_to_a_file_of_its_type(
    simulate: Simulate, ask: Ask, finished: Finished, shape: str
) -> None:
    simulator, session = await simulate({"output.shape": shape})
    result = (await ask(session, "GET", f"/v2/requests/{await finished(simulator, session)}")).json
    file = await ask(session, "GET", SHAPES[shape](result))
    kind = {"images": "image/png", "image": "image/png", "audio": "audio/wav"}.get(shape, "video/mp4")
    assert (file.status, file.headers["Content-Type"]) == (200, kind)


@pytest.mark.parametrize(("shape", "kind"), [("text", str), ("base64", str), ("none", type(None))])
async def test_a_shape_without_a_file_has_no_url(
    simulate: Simulate, ask: Ask, finished: Finished, shape: str, kind: type
) -> None:
    simulator, session = await simulate({"output.shape": shape})
    result = (await ask(session, "GET", f"/v2/requests/{await finished(simulator, session)}")).json
    assert isinstance(result["output"], kind)
    assert "http" not in str(result["output"])


async def test_several_outputs_are_several_different_files(simulate: Simulate, ask: Ask, finished: Finished) -> None:
    simulator, session = await simulate({"output.files_per_job": 3})
    result = (await ask(session, "GET", f"/v2/requests/{await finished(simulator, session)}")).json
    assert len({(await ask(session, "GET", url)).content for url in result["output"]}) == 3


async def test_the_bill_counts_polls_results_and_jobs_whose_result_was_served(
    simulate: Simulate, ask: Ask, finished: Finished
) -> None:
    simulator, session = await simulate()
    record = f"/v2/requests/{await finished(simulator, session)}"
    for url in (f"{record}/status", record, record):
        await ask(session, "GET", url)
    bill = simulator.bill()
    assert (bill.polls, bill.result_gets, bill.results_fetched) == (1, 2, 1)
