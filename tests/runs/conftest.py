"""Whole runs over real HTTP: the engine and the simulated provider in one event loop, on the loopback address."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from engine.config import RunConfig
from engine.intake.source import FileSource
from engine.run.request import RunRequest
from engine.run.run import Run
from engine.simulator import Scenario, Simulator

if TYPE_CHECKING:
    from pathlib import Path

    from engine.ledger.reopening import Selection
    from engine.ledger.survey import Survey
    from engine.scheduling.stop import Stop

QUICK = {
    "work.duration_median_s": 0.15,
    "work.duration_sigma": 0.3,
    "rate.requests_per_window": 0,
    "history.lag_s": 0.2,
}
SETTINGS = (
    "limits.submits_per_minute=60000",
    "limits.polls_per_minute=600000",
    "polling.expected_duration_s=0.15",
    "recovery.grace_s=1.0",
    "provider.preset=simulator",
)


@dataclass
class Outcome:
    """What one process of a run came to."""

    exit_code: int
    survey: Survey
    stop: Stop | None
    lines: list[dict[str, Any]]
    said: list[str]
    in_flight_peak: int
    submits: int
    by_id: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_id = {line["id"]: line for line in self.lines}

    @property
    def statuses(self) -> dict[str, int]:
        return {status: sum(line["status"] == status for line in self.lines) for status in ("succeeded", "failed")}


Provider = Callable[..., AbstractAsyncContextManager[Simulator]]


@asynccontextmanager
async def provider(**knobs: Any) -> AsyncIterator[Simulator]:
    """Run a simulated provider; ``a__b=1`` sets the knob ``a.b``; it must not have failed by itself in the end."""
    named = {name.replace("__", "."): value for name, value in knobs.items()}
    async with Simulator(Scenario.load("calm", {**QUICK, **named})) as simulator:
        yield simulator
        assert simulator.bill().internal_errors == 0


def write_jobs(path: Path, count: int, *, copies: int = 1, **params: Any) -> Path:
    """Write job lines whose bodies each stand ``copies`` times, under different ids."""
    with path.open("w") as file:
        for number in range(count):
            body = {
                "image_url": f"https://example.com/face-{number // copies}.png",
                "audio_url": "https://example.com/take.wav",
                **params,
            }
            file.write(json.dumps({"id": f"job-{number}", "params": body}) + "\n")
    return path


async def run(
    simulator: Simulator,
    jobs: Path,
    *settings: str,
    watch: Callable[[Run], None] = lambda _run: None,
    reopen: Selection | None = None,
    **request: Any,
) -> Outcome:
    """Work on the batch in ``jobs`` as ``engine run`` would; ``watch`` is called once it is open."""
    addresses = (f"provider.base_url={simulator.base_url}", f"provider.history_url={simulator.history_url}")
    said: list[str] = []
    asked = RunRequest(
        root=jobs.with_suffix(".run"),
        config=RunConfig.load(None, [*SETTINGS, *addresses, *settings]),
        source=None if reopen else FileSource(jobs),
        reopen=reopen,
        announce=said.append,
        remark=said.append,
        **request,
    )
    async with Run(asked) as opened:
        watch(opened)
        await opened.work()
        output = opened.output
        exit_code, found, stop, tally = opened.exit_code, opened.result, opened.stop, opened.tally
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    return Outcome(int(exit_code), found, stop, lines, said, tally.in_flight_peak, tally.submits)


def paid(simulator: Simulator) -> int:
    """Return how many jobs the provider was paid for."""
    return simulator.bill(with_bodies=False).paid


def accounts_add_up(found: Survey) -> bool:
    """Say whether every input line is accounted for."""
    places: Sequence[int] = (
        found.succeeded,
        found.failed,
        found.invalid,
        found.unknown,
        found.held,
        found.in_flight,
        found.remaining,
    )
    return sum(places) == found.lines


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "jobs.jsonl"
