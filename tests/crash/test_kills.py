"""A few kills in every test run; hundreds by hand, see the harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.harness import crash_and_finish

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.processes

PACE = (
    "limits.submits_per_minute=1200",
    "limits.polls_per_minute=60000",
    "polling.expected_duration_s=1",
    "recovery.grace_s=3",
    "storage.reserve_bytes=0",
)


def test_a_run_killed_again_and_again_pays_for_each_job_once_and_writes_each_line_once(
    tmp_path: Path, seed: int
) -> None:
    verdict = crash_and_finish(
        tmp_path,
        jobs=40,
        kills=4,
        seed=seed,
        scenario_settings=("work.duration_median_s=1", "faults.reply_lost_after=0.05", "rate.window_s=2"),
        settings=PACE,
        pause_s=(0.5, 2.0),
    )
    assert verdict.is_clean, verdict
    assert verdict.statuses == {"succeeded": 40}
    assert verdict.exit_code == 0
    assert verdict.submits_in_window_max <= 40  # 1200 a minute, over all processes together
