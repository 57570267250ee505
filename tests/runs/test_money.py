"""Money, end to end: the budget, the account, the canary, the halt rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import ExitCode
from tests.runs.conftest import accounts_add_up, paid, provider, run, write_jobs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from engine.run.run import Run

pytestmark = pytest.mark.sockets

PRICE_USD = 4.475


async def test_the_bill_never_exceeds_the_budget_and_raising_it_finishes_the_batch(jobs: Path) -> None:
    write_jobs(jobs, 30)
    async with provider() as simulator:
        first = await run(simulator, jobs, "budget.cost_usd_max=50", "limits.max_in_flight=200")
        assert first.exit_code == ExitCode.STOPPED
        assert first.stop is not None
        assert first.stop.kind == "budget"
        assert simulator.bill().billed_usd <= 50
        assert first.survey.succeeded == int(50 / PRICE_USD)
        assert accounts_add_up(first.survey)
        second = await run(simulator, jobs, "budget.cost_usd_max=500")
        assert second.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 30
        assert second.survey.spent_usd == pytest.approx(30 * PRICE_USD)
        assert second.survey.spent_usd == pytest.approx(simulator.bill().billed_usd)


async def test_the_budget_holds_when_jobs_cost_more_than_the_list_says(jobs: Path) -> None:
    write_jobs(jobs, 30)
    async with provider(credits__price_usd=6.0) as simulator:
        first = await run(simulator, jobs, "budget.cost_usd_max=50", "budget.price_usd=6.0")
        assert first.exit_code == ExitCode.STOPPED
        assert simulator.bill().billed_usd <= 50


async def test_a_failed_job_gives_its_reservation_back(jobs: Path) -> None:
    write_jobs(jobs, 12)
    async with provider(faults={"failed_job": 0.5}) as simulator:
        outcome = await run(simulator, jobs, f"budget.cost_usd_max={12 * PRICE_USD}", "limits.max_in_flight=2")
        assert outcome.survey.remaining == 0
        assert outcome.exit_code == ExitCode.SOME_FAILED


async def test_max_jobs_submits_so_many_and_stops(jobs: Path) -> None:
    write_jobs(jobs, 12)
    async with provider() as simulator:
        outcome = await run(simulator, jobs, jobs_max=5)
        assert outcome.exit_code == ExitCode.STOPPED
        assert paid(simulator) == 5
        assert (await run(simulator, jobs)).exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 12


@pytest.mark.parametrize("refusal", [402, 406])
async def test_credit_that_runs_out_and_is_topped_up_fails_nothing_and_spends_no_attempt(
    jobs: Path, refusal: int
) -> None:
    write_jobs(jobs, 40)
    async with provider(credits__start_usd=16 * PRICE_USD, credits__refusal_http_status=refusal) as simulator:

        def top_up_when_parked(opened: Run) -> None:
            def is_parked() -> bool:
                return "out of credit" in opened.view().waits_for

            async def wait_and_pay() -> None:
                await wait_until(is_parked, description="the run is parked")
                simulator.add_credits(1_000)

            import asyncio  # noqa: PLC0415

            tasks.append(asyncio.get_running_loop().create_task(wait_and_pay()))

        tasks: list[object] = []
        outcome = await run(simulator, jobs, "limits.max_in_flight=10", watch=top_up_when_parked, wait_for_credit=True)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert {line["attempts"] for line in outcome.lines} == {1}
        assert paid(simulator) == 40


async def test_without_a_top_up_the_run_harvests_and_ends_with_the_account_s_exit_code(jobs: Path) -> None:
    write_jobs(jobs, 12)
    async with provider(credits__start_usd=5 * PRICE_USD) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.ACCOUNT
        assert outcome.survey.succeeded == 5
        assert outcome.survey.failed == 0
        assert accounts_add_up(outcome.survey)
        simulator.add_credits(1_000)
        assert (await run(simulator, jobs)).exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 12


async def test_a_revoked_key_stops_the_run_and_a_new_one_goes_on(jobs: Path) -> None:
    write_jobs(jobs, 10)
    async with provider() as simulator:
        simulator.change({"access.keys_revoked": True})
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.ACCOUNT
        assert outcome.survey.remaining == 10
        assert outcome.lines == []
        simulator.change({"access.keys_revoked": False})
        assert (await run(simulator, jobs)).exit_code == ExitCode.SUCCEEDED


async def test_a_batch_whose_canary_fails_stops_there(jobs: Path) -> None:
    write_jobs(jobs, 200)
    async with provider(faults={"failed_job": 1.0}) as simulator:
        outcome = await run(simulator, jobs, "canary.jobs=5")
        assert outcome.exit_code == ExitCode.STOPPED
        assert outcome.stop is not None
        assert outcome.stop.kind == "canary"
        assert simulator.bill().accepted == 5
        assert outcome.survey.remaining == 195


async def test_a_canary_that_succeeds_reports_what_it_measured_and_releases_the_rest(jobs: Path) -> None:
    write_jobs(jobs, 20)
    async with provider() as simulator:
        outcome = await run(simulator, jobs, "canary.jobs=5")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert "canary: 5 of 5 first jobs succeeded, each $4.475" in outcome.said[0]


async def test_a_run_of_failures_alike_stops_the_batch(jobs: Path) -> None:
    write_jobs(jobs, 200)
    async with provider(faults={"failed_job": 1.0}) as simulator:
        outcome = await run(simulator, jobs, "halt.same_failures=10", "limits.max_in_flight=4")
        assert outcome.stop is not None
        assert outcome.stop.kind == "same_failures"
        assert 10 <= simulator.bill().accepted <= 14
        assert accounts_add_up(outcome.survey)


async def test_a_share_of_failures_stops_the_batch_only_after_enough_jobs(jobs: Path) -> None:
    write_jobs(jobs, 200)
    async with provider(faults={"failed_job": 0.5}) as simulator:
        outcome = await run(simulator, jobs, "halt.failed_share=0.2", "halt.after_jobs=12", "limits.max_in_flight=4")
        assert outcome.stop is not None
        assert outcome.stop.kind == "failed_share"
        assert 12 <= simulator.bill().accepted < 60
