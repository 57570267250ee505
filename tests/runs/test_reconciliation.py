"""What the history must show before anything is submitted a second time, end to end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from engine.errors import ExitCode
from tests.runs.conftest import paid, provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets

LOST_ONCE = {
    "faults": {"reply_lost_after": 1.0},
    "fault_details__repeats_max": 1,
    "fault_details__only_bodies_with": "face-3.png",
}


def write_lines(path: Path, lines: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


async def test_a_history_by_a_clock_that_is_far_off_proves_nobodys_absence(jobs: Path) -> None:
    write_jobs(jobs, 8)
    async with provider(**LOST_ONCE, clock_offset_s=-120.0) as simulator:
        outcome = await run(simulator, jobs, "recovery.grace_s=0.5")
        assert paid(simulator) == 8
        assert outcome.exit_code == ExitCode.STOPPED
        assert outcome.survey.unknown == 1


async def test_a_body_that_is_part_of_another_takes_not_the_others_row(jobs: Path) -> None:
    params = {"image_url": "https://example.com/face-3.png", "audio_url": "https://example.com/take.wav"}
    lines: list[dict[str, object]] = [
        {"id": "short", "params": params},
        {"id": "long", "params": {**params, "prompt": "smiling"}},
    ]
    lines += [{"id": f"other-{n}", "params": {**params, "image_url": f"https://example.com/{n}.png"}} for n in range(4)]
    write_lines(jobs, lines)
    async with provider(**LOST_ONCE) as simulator:
        outcome = await run(simulator, jobs)
        assert outcome.exit_code == ExitCode.SUCCEEDED
        assert simulator.bill().paid_more_than_once == 0
        bodies = {request_id: body.body for body in simulator.bill().bodies for request_id in body.request_ids}
        assert bodies[outcome.by_id["short"]["request_id"]] == params
        assert bodies[outcome.by_id["long"]["request_id"]] == {**params, "prompt": "smiling"}


async def test_a_budget_that_a_failed_job_gives_back_is_spent_on_the_next(jobs: Path) -> None:
    write_jobs(jobs, 8)
    knobs = {"faults": {"failed_job": 1.0}, "fault_details__repeats_max": 1}
    async with provider(**knobs, fault_details__only_bodies_with="face-0.png") as simulator:
        outcome = await run(simulator, jobs, "budget.cost_usd_max=9")
        assert outcome.survey.failed == 1
        assert paid(simulator) == 2
        assert outcome.survey.spent_usd == pytest.approx(8.95)


async def test_prices_that_were_learned_are_known_after_a_restart(jobs: Path) -> None:
    write_jobs(jobs, 40)
    async with provider(credits__price_usd=6.0) as simulator:
        await run(simulator, jobs, "budget.cost_usd_max=100", jobs_max=1)
        await run(simulator, jobs, "budget.cost_usd_max=100")
        assert simulator.bill().billed_usd <= 100
