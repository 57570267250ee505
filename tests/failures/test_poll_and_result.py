"""The failure table, poll and result: whole runs over real HTTP; what is paid for comes home, nothing is paid twice."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from engine.errors import ExitCode
from tests.failures.conftest import always, middle, once
from tests.runs.conftest import paid, provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

FAST = ("polling.policy=fixed", "polling.interval_s=0.1")


def says(body: Any, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


async def test_stuck_in_queued_or_processing_ends_as_unknown_with_its_id_and_is_never_resubmitted(jobs: Path) -> None:
    write_jobs(jobs, 3)
    knobs = {"faults": {"stuck_job": 1.0}, "fault_details__only_bodies_with": "face-1.png"}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs, "recovery.job_deadline_s=2", "recovery.grace_s=0.2")
        assert (outcome.survey.unknown, outcome.survey.succeeded) == (1, 2)
        assert outcome.exit_code == ExitCode.STOPPED
        assert simulator.bill().accepted == 3


@pytest.mark.parametrize(
    "body",
    [{"status": "REARRANGING"}, {"status": 7}, {"status": None}, {"status": ["COMPLETED"]}, {"state": "COMPLETED"}, {}],
    ids=str,
)
async def test_unknown_status_word_missing_or_wrong_type_is_never_success_never_failure(
    jobs: Path, body: dict[str, Any]
) -> None:
    write_jobs(jobs, 2)
    async with middle() as between:
        between.answer = once("poll", lambda: says(body), times=2)
        outcome = await run(between, jobs, *FAST)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert between.asked["submit"] == 2


@pytest.mark.parametrize("status", [422, 200])
async def test_failed_under_422_or_200_fails_with_the_text(jobs: Path, status: int) -> None:
    write_jobs(jobs, 1)
    async with middle() as between:
        between.answer = once("poll", lambda: says({"status": "FAILED", "error": "no face", "metrics": {}}, status))
        outcome = await run(between, jobs, *FAST)
        (line,) = outcome.lines
        assert (line["status"], line["error"]["kind"]) == ("failed", "generation_failed")
        assert (line["error"]["message"], line["error"]["paid"]) == ("no face", False)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: says({"status": "PROCESSING"}),
        lambda: says({"error": "not found"}, 404),
        lambda: says({"error": "oops"}, 500),
        lambda: web.Response(status=502, text="<html>", content_type="text/html"),
    ],
    ids=["processing", "404", "500", "502"],
)
async def test_completed_then_the_result_says_processing_404_or_5xx_is_retried(jobs: Path, answer: Any) -> None:
    write_jobs(jobs, 2)
    async with middle() as between:
        between.answer = once("fetch", answer, times=2)
        outcome = await run(between, jobs, *FAST)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert (between.asked["submit"], between.asked["fetch"]) == (2, 4)


async def test_completed_without_a_url_fails_as_no_media_with_the_raw_body_kept_and_flagged_as_paid(jobs: Path) -> None:
    write_jobs(jobs, 1)
    body = {"status": "COMPLETED", "output": None, "metrics": {"cost": 4.475}}
    async with middle() as between:
        between.answer = always("fetch", lambda: says(body))
        (line,) = (await run(between, jobs, *FAST)).lines
        assert (line["error"]["kind"], line["error"]["paid"]) == ("no_media", True)
        assert line["output"] == body


async def test_404_on_a_known_id_that_is_young_is_waited_for(jobs: Path) -> None:
    write_jobs(jobs, 3)
    async with provider(faults={"young_404": 1.0}, fault_details__young_404_s=1.0) as simulator:
        outcome = await run(simulator, jobs, *FAST)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().accepted == 3


async def test_404_on_a_known_id_for_good_is_settled_by_the_history_and_never_resubmitted(jobs: Path) -> None:
    write_jobs(jobs, 3)
    async with middle() as between:
        between.answer = lambda request: (
            says({"error": "not found"}, 404) if request.path.startswith("/v2/requests/") else None
        )
        outcome = await run(between, jobs, *FAST, "recovery.grace_s=0.5")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert (between.asked["submit"], paid(between)) == (3, 3)


async def test_429_on_polls_slows_them_down_and_touches_no_attempt(jobs: Path) -> None:
    write_jobs(jobs, 4)
    async with middle() as between:
        between.answer = once("poll", lambda: web.Response(status=429, headers={"Retry-After": "1"}), times=2)
        outcome = await run(between, jobs, *FAST)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert {line["attempts"] for line in outcome.lines} == {1}
        assert between.asked["submit"] == 4


BOMB = gzip.compress(b" " * 64 * 2**20)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500, text='{"error": "x"}', content_type="application/json"),
        lambda: web.Response(text="<html>hello</html>", content_type="text/html"),
        lambda: web.Response(text='{"status": NaN}', content_type="application/json"),
        lambda: web.Response(text="[" * 100_000, content_type="application/json"),
        lambda: web.Response(text='{"a":' * 100_000, content_type="application/json"),
        lambda: web.Response(body=b" " * 20 * 2**20),
        lambda: web.Response(body=BOMB, headers={"Content-Encoding": "gzip"}),
        lambda: web.Response(body=b""),
    ],
    ids=["5xx", "html 200", "NaN", "depth 10^5 arrays", "depth 10^5 objects", "huge", "gzip bomb", "empty"],
)
async def test_5xx_html_200_nan_depth_huge_gzip_bomb_are_capped_and_retried(jobs: Path, answer: Any) -> None:
    write_jobs(jobs, 1)
    async with middle() as between:
        between.answer = once("poll", answer)
        outcome = await run(between, jobs, *FAST)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert between.asked["submit"] == 1


@pytest.mark.parametrize("fault", ["poll_lost", "poll_stalled"])
async def test_resets_and_slow_loris_are_retried_within_their_time_limit(jobs: Path, fault: str) -> None:
    write_jobs(jobs, 2)
    knobs = {"faults": {fault: 1.0}, "fault_details__repeats_max": 1, "fault_details__reply_stalled_s": 30.0}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs, *FAST, "provider.request_timeout_s=1")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().accepted == 2


async def test_while_the_provider_is_away_nothing_fails_and_nothing_is_paid_twice(jobs: Path) -> None:
    write_jobs(jobs, 6)
    async with provider(work__duration_median_s=0.5) as simulator:

        def watch(_opened: Any) -> None:
            loop = asyncio.get_running_loop()
            loop.call_later(0.3, simulator.change, {"outage": "drop"})
            loop.call_later(1.6, simulator.change, {"outage": "none"})

        outcome = await run(simulator, jobs, *FAST, watch=watch)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert (outcome.survey.failed, simulator.bill().paid_more_than_once) == (0, 0)


async def test_status_url_on_another_host_is_ignored(jobs: Path) -> None:
    write_jobs(jobs, 2)
    async with provider(faults={"foreign_urls": 1.0}) as simulator:
        outcome = await run(simulator, jobs, *FAST)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().accepted == 2
