"""The plan's rate, end to end: a 429 makes everybody wait for the server's word and costs no attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import ExitCode
from tests.runs.conftest import paid, provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets


@pytest.mark.parametrize("header", ["iso_z", "iso_naive", "space", "epoch_s", "epoch_ms", "http_date", "retry_after"])
async def test_every_notation_of_the_reset_is_obeyed_and_no_attempt_is_spent(jobs: Path, header: str) -> None:
    write_jobs(jobs, 8)
    knobs = {"rate__requests_per_window": 4, "rate__window_s": 1.0, "rate__header": header}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert {line["attempts"] for line in outcome.lines} == {1}
        assert paid(simulator) == 8
        # One refusal for each window that was full; a client that does not wait would meet dozens.
        assert simulator.bill(with_bodies=False).rate_limited <= 8


async def test_without_a_hint_it_backs_off_and_finishes(jobs: Path) -> None:
    write_jobs(jobs, 6)
    knobs = {"rate__requests_per_window": 3, "rate__window_s": 1.0, "rate__header": "none"}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 6


async def test_a_plan_that_counts_every_request_is_kept_with_one_shared_lane(jobs: Path) -> None:
    write_jobs(jobs, 6)
    knobs = {"rate__requests_per_window": 60, "rate__window_s": 1.0, "rate__counts": "all"}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs, "limits.shared=true", "limits.submits_per_minute=3000")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill(with_bodies=False).rate_limited == 0


async def test_a_paced_client_meets_no_429_across_a_restart(jobs: Path) -> None:
    write_jobs(jobs, 24)
    knobs = {"rate__requests_per_window": 10, "rate__window_s": 1.0}
    async with provider(**knobs) as simulator:
        await run(simulator, jobs, "limits.submits_per_minute=600", jobs_max=12)
        outcome = await run(simulator, jobs, "limits.submits_per_minute=600")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        bill = simulator.bill(with_bodies=False)
        assert bill.rate_limited == 0
        assert bill.submits_in_window_max <= 10
