"""Results whose record or URL expired, end to end: the history brings them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import ExitCode
from engine.ledger.reopening import Selection
from engine.scheduling.stop import Manner, Stop
from tests.runs.conftest import accounts_add_up, paid, provider, run, write_jobs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.run.run import Run

pytestmark = pytest.mark.sockets


def stop_after_submissions(count: int, manner: Manner = Manner.NOW) -> Callable[[Run], None]:
    """Return a watcher that stops the run hard once ``count`` jobs were accepted."""
    import asyncio  # noqa: PLC0415

    tasks: list[asyncio.Task[None]] = []

    def watch(opened: Run) -> None:
        async def stop() -> None:
            await wait_until(lambda: opened.tally.generating >= count, description=f"{count} jobs are generating")
            opened.request_stop(Stop("interrupted", "stopped by the test", ExitCode.INTERRUPTED, manner))

        tasks.append(asyncio.get_running_loop().create_task(stop()))

    return watch


async def test_a_run_resumed_after_the_records_expired_rescues_every_job_and_submits_none_again(jobs: Path) -> None:
    write_jobs(jobs, 6)
    async with provider(work__duration_median_s=0.6, retention__record_life_s=2.0) as simulator:
        stopped = await run(simulator, jobs, watch=stop_after_submissions(6))
        assert stopped.exit_code == ExitCode.INTERRUPTED
        assert stopped.survey.in_flight == 6
        await wait_until(
            lambda: simulator.bill(with_bodies=False).in_flight == 0, description="the provider has finished"
        )
        simulator.change({"retention.record_life_s": 0.01})
        resumed = await run(simulator, jobs)
        assert resumed.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().accepted == 6
        assert resumed.submits == 0
        assert all(line["files"] and line["cost_usd"] == 4.475 for line in resumed.lines)


async def test_a_url_that_expired_is_refreshed_from_the_result(jobs: Path) -> None:
    write_jobs(jobs, 4)
    knobs = {"faults": {"download_expired": 1.0}, "fault_details__repeats_max": 1}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 4


async def test_a_file_that_is_gone_for_good_fails_as_expired_and_paid_and_a_retry_downloads_it_without_paying(
    jobs: Path,
) -> None:
    write_jobs(jobs, 3)
    async with provider(retention__file_life_s=0.0) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SOME_FAILED
        assert {line["error"]["kind"] for line in outcome.lines} == {"expired"}
        assert all(line["error"]["paid"] for line in outcome.lines)
        simulator.change({"retention.file_life_s": 3600})
        again = await run(simulator, jobs, reopen=Selection())
        assert again.exit_code == ExitCode.SUCCEEDED
        assert [line["seq"] for line in again.lines] == [0, 1, 2]
        assert paid(simulator) == 3


async def test_failed_jobs_tried_again_get_one_new_line_in_place_of_the_old(jobs: Path) -> None:
    write_jobs(jobs, 10)
    async with provider(faults={"failed_job": 0.5}) as simulator:
        first = await run(simulator, jobs, "halt.same_failures=0")
        assert 0 < first.statuses["failed"] < 10
        simulator.change({"faults.failed_job": 0.0})
        second = await run(simulator, jobs, reopen=Selection())
        assert second.exit_code == ExitCode.SUCCEEDED
        assert sorted(line["line"] for line in second.lines) == list(range(1, 11))
        assert sorted(line["seq"] for line in second.lines) == list(range(10))
        assert paid(simulator) == 10
        assert max(line["attempts"] for line in second.lines) == 2
        assert accounts_add_up(second.survey)
