"""The simulated provider without its wire: accounts, jobs, money and time.

Accepts a body, gives it a fate from the dice, has it worked on, bills it when it completes. The routes
ask this object and translate; it knows nothing of HTTP beyond the two origins in its URLs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.simulator.bill import BodyAccount, Books
from engine.simulator.clips import Clips
from engine.simulator.credits import Credits, Refusal
from engine.simulator.dice import Dice
from engine.simulator.draws import Draws
from engine.simulator.faults import JOB, Fault
from engine.simulator.inputs import refused_input
from engine.simulator.job import TERMINAL, Job, JobState
from engine.simulator.rate_window import RateWindow
from engine.simulator.scenario import Knobs, Scenario
from engine.simulator.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.bill import Bill
    from engine.simulator.clips import Clip
    from engine.simulator.clock import Clock

_HOUR_S = 3600.0
_DRIFTED_SHARE_MIN = 0.05


class World:
    """Everything the provider knows."""

    def __init__(self, scenario: Scenario, clock: Clock) -> None:
        self.knobs = Knobs(scenario)
        self.clock = clock
        self.dice = Dice(scenario.seed)
        self.draws = Draws(self.knobs, self.dice)
        self.books = Books()
        self.credits = Credits(scenario.credits.start_usd)
        self.window = RateWindow()
        self.clips = Clips()
        self.jobs: dict[str, Job] = {}
        self.newest_last: list[Job] = []  # the same jobs; sorted by creation, so that it can be bisected
        self.models_seen: set[str] = set()
        self.files_per_job_max = 1
        self.assets: dict[str, tuple[str, bytes]] = {}
        self.base_url = ""
        self.media_url = ""
        self._pool = WorkerPool(self.knobs, clock, self._settle)
        self._ends: dict[str, asyncio.Event] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._began_s = clock.now()

    @property
    def scenario(self) -> Scenario:
        """The scenario in force."""
        return self.knobs.scenario

    def utc(self) -> float:
        """Return the server's idea of UTC, in seconds since the epoch."""
        return self.clock.utc() + self.scenario.clock_offset_s

    def change(self, overrides: Mapping[str, object]) -> None:
        """Change knobs while running; the seed and the first balance stay as they were."""
        self.knobs.scenario = self.scenario.changed(overrides)
        self._pool.fill()

    def stop(self) -> None:
        """Drop all timers."""
        self._pool.stop()

    def bill(self, *, with_bodies: bool = True) -> Bill:
        """Return the statement of everything counted so far."""
        return self.books.statement(
            window_s=self.scenario.rate.window_s, faults=self.draws.happened, with_bodies=with_bodies
        )

    def price_usd(self, model: str) -> float:
        """Return the list price of one job."""
        section = self.scenario.credits
        if section.price_usd is not None:
            return section.price_usd
        return section.prices_usd.get(model, section.price_other_usd)

    def money_refusal(self, model: str) -> Refusal | None:
        """Say why this account cannot pay for one more job, or None."""
        section = self.scenario.credits
        return self.credits.refusal(
            self.price_usd(model), reserve=section.reserve, team_limit_usd=section.team_limit_usd
        )

    def accept(self, account: BodyAccount, body: dict[str, object], *, attempt: int) -> Job:
        """Take a job on: from here it runs and is billed if it completes."""
        job = self._new_job(account, body, attempt)
        self.jobs[job.request_id] = job
        self.newest_last.append(job)
        self.models_seen.add(job.model)
        self.files_per_job_max = max(self.files_per_job_max, job.files_count)
        self.books.accepted(account, job.request_id)
        self._idle.clear()
        self.credits.hold(job.price_usd)
        self._pool.add(job)
        return job

    def find(self, request_id: str) -> Job | None:
        """Return the job if its record is still kept and already visible."""
        job = self.jobs.get(request_id)
        if job is None:
            return None
        age_s = self.clock.now() - job.created_s
        if age_s >= self.scenario.retention.record_life_s:
            return None
        if Fault.YOUNG_404 in job.faults and age_s < self.scenario.fault_details.young_404_s:
            self.draws.note(Fault.YOUNG_404)
            return None
        return job

    async def ended(self, job: Job) -> None:
        """Wait until the job is at its end."""
        if job.state not in TERMINAL:
            await self._ends.setdefault(job.request_id, asyncio.Event()).wait()

    async def idle(self) -> None:
        """Wait until no accepted job is in flight."""
        await self._idle.wait()

    def file_urls(self, job: Job) -> list[str]:
        """Return where the job's outputs can be fetched."""
        extension = self.clips.extension(self.scenario.output.shape)
        names = (f"{job.request_id}-{index}.{extension}" for index in range(job.files_count))
        return [f"{self.media_url}/generations/{name}" for name in names]

    def clip(self, file_name: str, revision: str = "") -> Clip:
        """Return the file of this name; another revision has another content and length."""
        stem, _, extension = file_name.rpartition(".")
        return self.clips.make(stem + revision, extension, size_bytes=self.scenario.output.file_bytes)

    def _new_job(self, account: BodyAccount, body: dict[str, object], attempt: int) -> Job:
        key = f"{account.sha256}:{account.accepted}"
        error = refused_input(account.model, body)
        faults = frozenset(
            fault for fault in JOB if self.draws.would_hit(fault, account.sha256, account.accepted, account.body)
        )
        duration_s = self._duration_s(key) if error is None else self.scenario.work.invalid_s
        if error is None and Fault.FAILED_JOB in faults:
            error = self.scenario.work.failed_error
        for fault in faults & {Fault.FAILED_JOB, Fault.STUCK_JOB}:
            self.draws.note(fault)
        return Job(
            request_id=self.dice.hex_id("request", key),
            model=account.model,
            body=account.body,
            body_sha256=account.sha256,
            nth=account.accepted,
            attempt=attempt,
            created_s=self.clock.now(),
            created_utc=self.utc(),
            duration_s=duration_s,
            price_usd=self._drawn_price_usd(account.model, key),
            files_count=self.scenario.output.files_per_job,
            faults=faults,
            error=error,
        )

    def _duration_s(self, key: str) -> float:
        work = self.scenario.work
        duration_s = self.dice.lognormal(work.duration_median_s, work.duration_sigma, "duration", key)
        if self.dice.share("slow", key) < work.slow_share:
            duration_s *= work.slow_factor
        hours = (self.clock.now() - self._began_s) / _HOUR_S
        return duration_s * max(_DRIFTED_SHARE_MIN, 1.0 + work.drift_per_hour * hours)

    def _drawn_price_usd(self, model: str, key: str) -> float:
        spread = self.scenario.credits.price_spread * (2.0 * self.dice.share("price", key) - 1.0)
        return round(self.price_usd(model) * (1.0 + spread), 6)

    def _settle(self, job: Job) -> None:
        paid = job.state is JobState.COMPLETED
        self.credits.settle(job.price_usd, paid=paid)
        self.books.ended(job.body_sha256, job.price_usd, paid=paid)
        job.remaining_credits_usd = round(self.credits.balance_usd, 6)
        if (waiting := self._ends.pop(job.request_id, None)) is not None:
            waiting.set()
        if not self.books.in_flight:
            self._idle.set()
