"""Lost replies, end to end: nothing is paid twice, nothing paid is lost, every unknown is settled."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import ExitCode
from tests.runs.conftest import accounts_add_up, paid, provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

LOST_AFTER = ("reply_lost_after", "bad_gateway_after", "reply_truncated", "reply_without_id", "reply_html")
LOST_BEFORE = ("reply_lost_before", "bad_gateway_before", "gateway_timeout_before", "unavailable_before")


def first_submission_only(*faults: str) -> dict[str, Any]:
    """Return knobs under which the first submission of job 3's body meets each fault with certainty."""
    return {
        "faults": dict.fromkeys(faults, 1.0),
        "fault_details__repeats_max": 1,
        "fault_details__only_bodies_with": "face-3.png",
    }


@pytest.mark.parametrize("fault", LOST_AFTER)
async def test_an_accepted_submission_whose_reply_is_lost_is_adopted(jobs: Path, fault: str) -> None:
    write_jobs(jobs, 8)
    async with provider(**first_submission_only(fault)) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().accepted == 8
        assert simulator.bill().paid_more_than_once == 0
        assert outcome.by_id["job-3"]["attempts"] == 1


@pytest.mark.parametrize("fault", LOST_BEFORE)
async def test_a_submission_that_never_arrived_is_submitted_again_under_proof(jobs: Path, fault: str) -> None:
    write_jobs(jobs, 8)
    async with provider(**first_submission_only(fault)) as simulator:
        outcome = await run(simulator, jobs, "limits.max_in_flight=1")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().paid_more_than_once == 0
        assert paid(simulator) == 8
        assert outcome.by_id["job-3"]["attempts"] == 2


async def test_without_a_later_submission_there_is_no_proof_and_the_run_says_so(jobs: Path) -> None:
    write_jobs(jobs, 4)
    async with provider(**first_submission_only("bad_gateway_before")) as simulator:
        outcome = await run(simulator, jobs, "limits.max_in_flight=1", "recovery.grace_s=0.3")
        assert outcome.exit_code == ExitCode.STOPPED
        assert outcome.survey.unknown == 1
        assert outcome.survey.at_risk_usd == pytest.approx(4.475)
        assert accounts_add_up(outcome.survey)
        assert len(outcome.lines) == 3


async def test_a_history_that_is_down_leaves_it_unknown_and_the_others_go_on(jobs: Path) -> None:
    write_jobs(jobs, 8)
    async with provider(faults={"reply_lost_after": 0.6, "history_error": 1.0}) as simulator:
        outcome = await run(simulator, jobs, "recovery.grace_s=0.3")
        assert outcome.survey.succeeded + outcome.survey.unknown == 8
        assert outcome.survey.unknown >= 1
        assert simulator.bill().paid_more_than_once == 0
        simulator.change({"faults.history_error": 0.0, "faults.reply_lost_after": 0.0})
        again = await run(simulator, jobs, "recovery.grace_s=0.3")
        assert again.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().paid_more_than_once == 0


async def test_equal_bodies_under_different_ids_are_each_paid_once_when_one_reply_is_lost(jobs: Path) -> None:
    write_jobs(jobs, 3, copies=3)
    knobs = {"faults": {"reply_lost_after": 1.0}, "fault_details__repeats_max": 1}
    async with provider(**knobs) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 3
        assert len({line["request_id"] for line in outcome.lines}) == 3


async def test_with_dedupe_equal_bodies_are_paid_for_once_and_every_line_is_answered(jobs: Path) -> None:
    write_jobs(jobs, 9, copies=3)
    async with provider() as simulator:
        outcome = await run(simulator, jobs, "budget.dedupe=true")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 3
        assert len(outcome.lines) == 9
        assert Counter(line["request_id"] for line in outcome.lines).most_common(1)[0][1] == 3
        assert sum(line["cost_usd"] for line in outcome.lines) == pytest.approx(3 * 4.475)
        assert all(line["files"] for line in outcome.lines)


async def test_the_policy_resubmit_without_grace_pays_twice_which_is_why_it_is_not_the_default(jobs: Path) -> None:
    write_jobs(jobs, 8)
    async with provider(**first_submission_only("reply_lost_after"), history__lag_s=30.0) as simulator:
        outcome = await run(simulator, jobs, "recovery.on_unknown=resubmit", "recovery.grace_s=0")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 9


async def test_the_policy_fail_fails_the_job_and_marks_it_as_perhaps_paid(jobs: Path) -> None:
    write_jobs(jobs, 8)
    async with provider(**first_submission_only("reply_lost_after"), history__lag_s=30.0) as simulator:
        outcome = await run(simulator, jobs, "recovery.on_unknown=fail", "recovery.grace_s=0.3")
        assert outcome.exit_code == ExitCode.SOME_FAILED
        assert outcome.by_id["job-3"]["error"]["kind"] == "unknown_outcome"
        assert outcome.by_id["job-3"]["error"]["paid"]


async def test_many_lost_replies_and_refusals_are_all_settled(jobs: Path) -> None:
    write_jobs(jobs, 120)
    faults = {"reply_lost_after": 0.05, "bad_gateway_before": 0.03, "bad_gateway_after": 0.03, "error_500": 0.03}
    async with provider(faults=faults, history__row_copies=2) as simulator:
        outcome = await run(simulator, jobs, "limits.max_in_flight=30")
        assert simulator.bill().paid_more_than_once == 0
        assert outcome.survey.succeeded + outcome.survey.unknown == 120
        assert outcome.survey.unknown <= 1
        assert paid(simulator) == outcome.survey.succeeded
