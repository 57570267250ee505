"""The grace: a history that lags is given time before anybody submits again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import ExitCode
from tests.runs.conftest import paid, provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path


async def test_within_the_grace_a_lost_submission_is_adopted_although_the_policy_is_to_submit_again(jobs: Path) -> None:
    write_jobs(jobs, 4)
    knobs = {"faults": {"reply_lost_after": 1.0}, "fault_details__repeats_max": 1}
    async with provider(**knobs, history__lag_s=0.6) as simulator:
        outcome = await run(simulator, jobs, "recovery.on_unknown=resubmit", "recovery.grace_s=4.0")
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert paid(simulator) == 4
        assert all(line["attempts"] == 1 for line in outcome.lines)
