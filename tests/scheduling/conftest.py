"""A whole scheduler on virtual time: ledger, life, lanes, a provider in memory. Built here and nowhere else."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from engine.config import RunConfig
from engine.input_files.stager import Stager
from engine.ledger.counts import count_jobs
from engine.ledger.recovery import recover
from engine.scheduling.durations import Durations
from engine.scheduling.given import Given
from engine.scheduling.halt import Canary, HaltRules
from engine.scheduling.landing import Rules
from engine.scheduling.lane import Lane, Lanes
from engine.scheduling.life import Life
from engine.scheduling.pace import Pace
from engine.scheduling.polling import LearnedPolling
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.spend import Spend
from engine.scheduling.tally import Tally
from tests.fake_provider import FakeFetcher, FakeProvider
from tests.jobs import add_jobs, open_inline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from engine.ledger.ledger import Ledger
    from engine.provider.history import History
    from engine.scheduling.deadline import Deadline, Target
    from engine.scheduling.stop import Stop
    from tests.virtual_clock import VirtualClock

RECORD_LIFE_S = 3_600.0


@dataclass
class World:
    """Everything around one scheduler; build it inside the running loop."""

    path: Path
    clock: VirtualClock
    rng: random.Random
    per_minute: float = 50.0
    polls_per_minute: float = 600.0
    shared: bool = False
    discover: bool = False
    max_in_flight: int = 200
    attempts_max: int = 3
    job_deadline_s: float = 21_600.0
    expected_s: float = 732.0
    history: History | None = None
    decided: int = 0
    overrides: list[str] = field(default_factory=list)
    deadline: Deadline | None = None
    target: Target | None = None
    output_life_s: float = 7 * 86_400.0
    download_places: Callable[[], int] | None = None
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger: Ledger = open_inline(self.path)
        self.provider = FakeProvider(self.clock, random.Random(self.rng.random()))
        self.fetcher: Any = FakeFetcher(self.clock)
        self.stager = Stager(None, None, self.ledger, catalogue={}, provider="fake", life_s=1.0, clock=self.clock)
        self.life = self.new_life()

    def new_life(self) -> Life:
        """Return the life of jobs with the provider and the fetcher that the world has now."""
        return Life(
            self.ledger,
            self.provider,
            self.fetcher,
            self.history,
            self.stager,
            clock=self.clock,
            rng=self.rng,
            expects_media=lambda model: model != "text",
            attempts_max=self.attempts_max,
            job_deadline_s=self.job_deadline_s,
            record_life_s=RECORD_LIFE_S,
            output_life_s=self.output_life_s,
            history_again_s=60.0,
        )

    def scheduler(self) -> Scheduler:
        submits = self._lane("submit", self.per_minute)
        self.policies: dict[str, LearnedPolling] = {}
        self.tally = Tally()
        given = Given(
            ledger=self.ledger,
            life=self.life,
            config=RunConfig.load(None, [f"limits.max_in_flight={self.max_in_flight}", *self.overrides]),
            lanes=Lanes(submits, submits if self.shared else self._lane("read", self.polls_per_minute)),
            rules=Rules(
                Spend(cost_usd_max=None, jobs_max=None, listed_price_usd=lambda _: None, spent_usd=0.0),
                Canary(jobs=0, decided=0),
                HaltRules(None, 20, 0),
            ),
            history=self.history,
            stager=self.stager,
            ask_credits=self.provider.credits_usd,
            polling_for=self._polling_for,
            clock=self.clock,
            tally=self.tally,
            log=structlog.wrap_logger(None, processors=[_drop]),
            record_life_s=RECORD_LIFE_S,
            wait_for_credit=False,
            low_disk=str,
            on_decided=self._note_decided,
            announce=self.said.append,
            deadline=self.deadline,
            target=self.target,
            output_life_s=self.output_life_s,
            download_places=self.download_places,
        )
        return Scheduler(given)

    async def with_jobs(self, count: int) -> Scheduler:
        """Add jobs and return a scheduler that knows of them and of the end of the input."""
        await add_jobs(self.ledger, count)
        return await self.resumed()

    async def resumed(self) -> Scheduler:
        """Return a scheduler for what the ledger holds, as a new process builds it."""
        await self.ledger.change(recover)
        scheduler = self.scheduler()
        self.tally.pending = (await self.ledger.read(count_jobs)).get("pending", 0)
        self.tally.input_complete = True
        return scheduler

    def _polling_for(self, model: str) -> LearnedPolling:
        if model not in self.policies:
            self.policies[model] = LearnedPolling(Durations(expected_s=self.expected_s, spread=0.35), self.clock.now)
        return self.policies[model]

    def _lane(self, name: str, per_minute: float) -> Lane:
        pace = Pace(per_minute, adaptive=True, discover=self.discover, clock=self.clock)
        return Lane(name, pace=pace, concurrency=64, clock=self.clock, rng=self.rng)

    def _note_decided(self) -> None:
        self.decided += 1


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


@pytest.fixture
def build(tmp_path: Path, clock: VirtualClock, rng: random.Random) -> Iterator[Callable[..., World]]:
    """Give a function that builds a world; it must be called on the running loop."""
    worlds: list[World] = []

    def built(**settings: Any) -> World:
        worlds.append(World(tmp_path / f"run-{len(worlds)}.db", clock, rng, **settings))
        return worlds[-1]

    yield built
    for world in worlds:
        world.ledger.close()


async def places(world: World) -> dict[str, int]:
    """Return how many jobs are where."""
    return await world.ledger.read(count_jobs)


def stop_after(scheduler: Scheduler, delay_s: float, stop: Stop) -> None:
    """Ask for a stop after ``delay_s`` seconds of the loop's clock."""
    asyncio.get_running_loop().call_later(delay_s, scheduler.request_stop, stop)


def busiest_minute(times: list[float]) -> int:
    """Return how many of the moments, in seconds and in order, lie within one minute at most."""
    busiest, first = 0, 0
    for last, moment in enumerate(times):
        while times[first] <= moment - 60:
            first += 1
        busiest = max(busiest, last - first + 1)
    return busiest
