"""The failure table, submit: whole runs over real HTTP, judged by the bill, the result lines and the exit code."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from engine.errors import ExitCode
from tests.failures.conftest import always, kind_of, lanes_of, middle, once
from tests.runs.conftest import accounts_add_up, paid, provider, run, write_jobs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

ERROR = {"error": "said by the test"}


def reply(status: int, body: Any = ERROR, **headers: str) -> web.Response:
    return web.json_response(
        body, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


async def test_200_with_an_id_commits_the_id_before_anything_else(jobs: Path) -> None:
    write_jobs(jobs, 5)
    known_at_first_poll: list[bool] = []

    def look(request: web.Request) -> None:
        if kind_of(request) == "poll":
            with closing(sqlite3.connect(jobs.with_suffix(".run") / "run.db")) as db:
                ids = {row[0] for row in db.execute("SELECT request_id FROM attempt")}
            known_at_first_poll.append(request.path.split("/")[3] in ids)

    async with middle() as between:
        between.answer = look
        assert (await run(between, jobs)).exit_code == ExitCode.SUCCEEDED
    assert known_at_first_poll
    assert all(known_at_first_poll)


BODIES = {
    "html": web.Response(text="<html>welcome</html>", content_type="text/html").body,
    "truncated": b'{"request_id": "0123456789abc',
    "empty": b"",
    "without": b'{"status": "QUEUED"}',
    "unusable": b'{"request_id": "../../etc", "status": "QUEUED"}',
    "number": b'{"request_id": 17, "status": "QUEUED"}',
    "list": b"[]",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_200_body_not_json_truncated_or_without_a_usable_id_is_unknown(jobs: Path, body: bytes) -> None:
    write_jobs(jobs, 3)
    async with middle() as between:
        between.history_url = between.base_url + "/inference-request"
        submit = once("submit", lambda: web.Response(status=200, body=body))
        between.answer = lambda request: submit(request) or _history_is_down(request)
        outcome = await run(between, jobs, "recovery.grace_s=0.2")
        assert outcome.exit_code == ExitCode.STOPPED
        assert outcome.survey.unknown == 1
        assert outcome.survey.at_risk_usd == pytest.approx(4.475)
        assert len(outcome.lines) == 2
        assert between.asked["submit"] == 3


def _history_is_down(request: web.Request) -> web.Response | None:
    return web.Response(status=503) if "request-history" in request.path else None


async def test_200_with_an_id_already_owned_by_another_job_is_held_and_reported(jobs: Path) -> None:
    write_jobs(jobs, 4)
    async with middle() as between:
        outcome = await run(between, jobs, "limits.max_in_flight=1", jobs_max=1)
        owned = outcome.lines[0]["request_id"]
        between.answer = once("submit", lambda: reply(200, {"request_id": owned, "status": "QUEUED"}))
        outcome = await run(between, jobs)
        assert outcome.survey.held == 1
        assert accounts_add_up(outcome.survey)
        assert outcome.exit_code == ExitCode.STOPPED
        assert len(outcome.lines) == 3


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_400_413_415_422_fail_with_the_message(jobs: Path, status: int) -> None:
    write_jobs(jobs, 3)
    async with middle() as between:
        between.answer = once("submit", lambda: reply(status))
        outcome = await run(between, jobs)
        assert outcome.exit_code == ExitCode.SOME_FAILED
        (failed,) = [line for line in outcome.lines if line["status"] == "failed"]
        assert (failed["error"]["kind"], failed["error"]["http_status"]) == ("rejected", status)
        assert failed["error"]["message"] == "said by the test"
        assert (failed["error"]["paid"], paid(between)) == (False, 2)


async def test_403_fails_the_job_and_5_in_a_row_stop_with_exit_5(jobs: Path) -> None:
    write_jobs(jobs, 12)
    async with middle() as between:
        between.answer = once("submit", lambda: reply(403))
        assert (await run(between, jobs, jobs_max=2)).statuses["failed"] == 1
        between.answer = always("submit", lambda: reply(403))
        outcome = await run(between, jobs, "limits.max_in_flight=1")
        assert outcome.exit_code == ExitCode.ACCOUNT
        assert outcome.statuses["failed"] == 1 + 5
        assert outcome.survey.remaining == 5


@pytest.mark.parametrize("status", [404, 410])
async def test_404_unknown_model_410_stop_before_more_are_tried_with_exit_2(jobs: Path, status: int) -> None:
    write_jobs(jobs, 20)
    async with middle() as between:
        between.answer = always("submit", lambda: reply(status))
        outcome = await run(between, jobs, "limits.submits_per_minute=600")
        assert outcome.exit_code == ExitCode.USAGE
        assert between.asked["submit"] <= 3
        assert (outcome.survey.failed, outcome.survey.remaining) == (0, 20)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=405, text="<html>405</html>", content_type="text/html"),
        lambda: reply(301, Location="https://example.com/"),
        lambda: reply(302, Location="https://example.com/"),
        lambda: reply(307, Location="https://example.com/"),
        lambda: reply(308, Location="https://example.com/"),
        lambda: reply(406, {"error": "Invalid content type"}),
    ],
    ids=["405", "301", "302", "307", "308", "406"],
)
async def test_405_3xx_406_content_type_stop_with_exit_2(jobs: Path, answer: Any) -> None:
    write_jobs(jobs, 4)
    async with middle() as between:
        between.answer = always("submit", answer)
        outcome = await run(between, jobs, "limits.submits_per_minute=600")
        assert outcome.exit_code == ExitCode.USAGE
        assert outcome.stop is not None
        assert outcome.stop.kind == "contract"
        assert (outcome.survey.failed, paid(between)) == (0, 0)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (402, "Payment required"),
        (406, "Insufficient credits"),
        (406, "Team spend limit reached"),
        (406, "your balance does not suffice"),
    ],
)
async def test_402_406_credits_team_limit_unrecognised_406_about_money_hold_submits_harvest_and_exit_5(
    jobs: Path, status: int, text: str
) -> None:
    write_jobs(jobs, 6)
    async with middle() as between:
        let_through = iter([True, True])

        def answer(request: web.Request) -> web.Response | None:
            if "credits" in request.path:
                return reply(200, {"credits": 0.0, "free-credits": 0.0})
            if kind_of(request) != "submit" or next(let_through, False):
                return None
            return reply(status, {"error": text})

        between.answer = answer
        outcome = await run(between, jobs)
        assert outcome.exit_code == ExitCode.ACCOUNT
        assert (outcome.survey.succeeded, outcome.survey.failed, outcome.survey.remaining) == (2, 0, 4)
        assert paid(between) == 2


async def test_429_with_a_reset_header_makes_all_submits_wait_until_then_and_spends_no_attempt(jobs: Path) -> None:
    write_jobs(jobs, 6)
    async with middle() as between:
        moments: list[float] = []
        clock = asyncio.get_running_loop().time
        throttle = once("submit", lambda: reply(429, Retry_After="2"))

        def noted(request: web.Request) -> web.StreamResponse | None:
            if kind_of(request) == "submit":
                moments.append(clock())
            return throttle(request)

        between.answer = noted
        outcome = await run(between, jobs, "limits.submits_per_minute=1200")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert {line["attempts"] for line in outcome.lines} == {1}
    assert moments[1] - moments[0] >= 1.9


async def test_429_storm_without_a_hint_is_survived_and_never_stalls_without_a_stated_reason(jobs: Path) -> None:
    write_jobs(jobs, 3)
    reasons: list[str] = []
    async with middle() as between:
        between.answer = once("submit", lambda: reply(429), times=3)

        def watch(opened: Any) -> None:
            async def look() -> None:
                while True:
                    await asyncio.sleep(0.05)
                    reasons.append(opened.view().waits_for)

            opened.looking = asyncio.get_running_loop().create_task(look())

        outcome = await run(between, jobs, watch=watch)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(between) == 3
    assert any("paused by a 429 until" in reason for reason in reasons)


@pytest.mark.parametrize("hint", ["-5", "1e99", "999999999999999", "nan", "\N{FULLWIDTH DIGIT ONE}", "1_0", ""])
async def test_retry_after_negative_huge_nan_fullwidth_or_empty_is_ignored_or_clamped(jobs: Path, hint: str) -> None:
    write_jobs(jobs, 2)
    waits_s: list[float] = []
    async with middle() as between:
        between.answer = once("submit", lambda: reply(429, Retry_After=hint.encode().decode("latin-1")))

        def watch(opened: Any) -> None:
            async def stop_once_throttled() -> None:
                await wait_until(lambda: opened.tally.throttles, description="it was throttled")
                waits_s.append(lanes_of(opened).submits.open_in_s)
                lanes_of(opened).submits._open_at = 0.0

            opened.looking = asyncio.get_running_loop().create_task(stop_once_throttled())

        outcome = await asyncio.wait_for(run(between, jobs, watch=watch), 20)
        assert outcome.exit_code == ExitCode.SUCCEEDED
    assert 0 < waits_s[0] <= 120


async def test_500_with_json_gets_at_most_3_retries(jobs: Path) -> None:
    write_jobs(jobs, 1)
    async with middle() as between:
        between.answer = always("submit", lambda: reply(500))
        outcome = await run(between, jobs, "retry.attempts_max=3")
        assert between.asked["submit"] == 3
        assert outcome.lines[0]["error"]["kind"] == "server_error"
        assert outcome.lines[0]["attempts"] == 3


@pytest.mark.parametrize("status", [502, 503, 504, 520, 522, 524, 599])
async def test_502_503_504_52x_html_or_empty_5xx_is_unknown(jobs: Path, status: int) -> None:
    write_jobs(jobs, 2)
    async with middle(faults={"history_error": 1.0}) as between:
        between.answer = once("submit", lambda: web.Response(status=status, text="<html>", content_type="text/html"))
        outcome = await run(between, jobs, "recovery.grace_s=0.2")
        assert (outcome.survey.unknown, outcome.survey.succeeded) == (1, 1)
        assert between.asked["submit"] == 2


async def test_an_empty_500_is_unknown(jobs: Path) -> None:
    write_jobs(jobs, 2)
    async with middle(faults={"history_error": 1.0}) as between:
        between.answer = once("submit", lambda: web.Response(status=500))
        outcome = await run(between, jobs, "recovery.grace_s=0.2")
        assert (outcome.survey.unknown, between.asked["submit"]) == (1, 2)


@pytest.mark.parametrize("fault", ["reply_lost_after", "reply_lost_before"])
async def test_reset_after_bytes_were_sent_is_unknown_and_settled_by_the_history(jobs: Path, fault: str) -> None:
    write_jobs(jobs, 6)
    knobs = {"faults": {fault: 1.0}, "fault_details__repeats_max": 1, "fault_details__only_bodies_with": "face-2.png"}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs, "limits.max_in_flight=1")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert (paid(simulator), simulator.bill().paid_more_than_once) == (6, 0)


async def test_connection_refused_is_not_sent_and_retried_without_spending_an_attempt(jobs: Path) -> None:
    write_jobs(jobs, 3)
    async with middle() as between:
        good = between.base_url
        listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        between.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        listener.close()  # whoever connects now is refused
        await listener.wait_closed()
        outcome = await run(between, jobs, watch=_stop_after(0.6))
        assert (outcome.survey.failed, outcome.survey.unknown, outcome.survey.remaining) == (0, 0, 3)
        between.base_url = good
        outcome = await run(between, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert {line["attempts"] for line in outcome.lines} == {1}


async def test_a_name_without_an_address_is_not_sent_and_held_with_the_reason(jobs: Path) -> None:
    write_jobs(jobs, 2)
    said: list[str] = []
    async with middle() as between:
        between.base_url = "https://does-not-exist.invalid"

        def watch(opened: Any) -> None:
            _stop_after(0.6)(opened)
            asyncio.get_running_loop().call_later(0.5, lambda: said.append(opened.view().waits_for))

        outcome = await run(between, jobs, watch=watch)
        assert (outcome.survey.failed, outcome.survey.unknown, outcome.survey.remaining) == (0, 0, 2)
    assert "tries again at" in said[0]


async def test_history_down_or_of_an_unknown_shape_leaves_it_unknown_and_other_jobs_go_on(jobs: Path) -> None:
    write_jobs(jobs, 6)
    knobs = {"faults": {"reply_lost_after": 1.0}, "fault_details__only_bodies_with": "face-2.png"}
    async with middle(**knobs) as between:
        between.history_url = between.base_url + "/inference-request"
        between.answer = lambda request: (
            web.json_response({"rows": {"one": 1}}) if "request-history" in request.path else None
        )
        outcome = await run(between, jobs, "recovery.grace_s=0.2")
        assert (outcome.survey.succeeded, outcome.survey.unknown) == (5, 1)
        between.answer = lambda _request: None
        outcome = await run(between, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(between) == 6
        assert json.dumps(outcome.lines).count('"succeeded"') == 6


def _stop_after(delay_s: float) -> Any:
    from engine.scheduling.stop import Manner, Stop  # noqa: PLC0415

    def watch(opened: Any) -> None:
        stop = Stop("interrupted", "stopped by the test", ExitCode.INTERRUPTED, Manner.HARVEST)
        asyncio.get_running_loop().call_later(delay_s, opened.request_stop, stop)

    return watch
