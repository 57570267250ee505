"""A few kills in every test run; hundreds by hand: ``python -m tests.crash kills``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.batch import batch
from tests.crash.harness import bill
from tests.crash.kills import KILLS_PLAN, crash_and_finish
from tests.crash.naive import naive_command
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

WINDOW_MAX = 40
"""1200 a minute are so many in a window of two seconds, over all processes together."""


def test_a_run_killed_again_and_again_pays_for_each_job_once_and_writes_each_line_once(
    tmp_path: Path, seed: int
) -> None:
    verdict = crash_and_finish(tmp_path, KILLS_PLAN._replace(jobs=40), kills=4, seed=seed, pause_s=(0.5, 2.0))
    assert verdict.is_clean, verdict
    assert verdict.kills
    assert verdict.statuses == {"succeeded": 40 - verdict.unknown}
    assert verdict.exit_code == (3 if verdict.unknown else 0)
    assert verdict.submits_in_window_max <= WINDOW_MAX


def test_the_judge_sees_what_a_script_without_intents_pays_twice(tmp_path: Path) -> None:
    slow = ("work.duration_median_s=0.2", "faults.reply_delayed=1", "fault_details.reply_delayed_s=1")
    plan = KILLS_PLAN._replace(jobs=8, scenario_settings=slow)
    with batch(tmp_path, plan, command_of=naive_command) as killed:
        with killed.started() as process:
            wait_in_thread_until(lambda: bill(killed.addresses)["accepted"], description="a submission was accepted")
            process.kill()
        verdict = killed.finish()
    assert verdict.paid_twice
    assert not verdict.is_clean
