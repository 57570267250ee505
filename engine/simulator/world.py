"""The simulated provider without its wire: accounts, jobs, money and time.

Accepts a body, gives it a fate from the dice, has it worked on, bills it when it completes. The routes
ask this object and translate; it knows nothing of HTTP beyond the two origins in its URLs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import orjson

from engine.simulator.bill import BodyAccount, Books
from engine.simulator.catalogue import SHAPES
from engine.simulator.clips import Clips
from engine.simulator.credits import Credits, Refusal
from engine.simulator.dice import Dice
from engine.simulator.draws import Draws
from engine.simulator.faults import JOB, Fault
from engine.simulator.inputs import refused_input
from engine.simulator.job import TERMINAL, Job, JobState
from engine.simulator.journal import Cancel, Staff, Start, Submit, TopUp
from engine.simulator.past_work import PastWork
from engine.simulator.rate_window import RateWindow
from engine.simulator.scenario import Knobs, OutputShape, Scenario
from engine.simulator.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from engine.simulator.bill import Bill
    from engine.simulator.clips import Clip
    from engine.simulator.clock import Clock
    from engine.simulator.journal import Line

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
        self.write_down: Callable[[Line], None] = _forget  # called before the thing happens
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
        changed = self.scenario.changed(overrides)
        if changed.work.workers != self.scenario.work.workers:
            self.write_down(Staff(at_utc=self.clock.utc(), workers=changed.work.workers))
        self.knobs.scenario = changed
        self._pool.fill()

    def begin(self, ports: tuple[int, int]) -> None:
        """Write down that this process serves from now on, on these ports."""
        scenario = self.scenario
        self.write_down(Start(at_utc=self.clock.utc(), ports=ports, seed=scenario.seed, workers=scenario.work.workers))

    def remember(self, lines: Iterable[Line]) -> None:
        """Live through what was written down by earlier processes, and go on from there.

        Between the lines the provider was at work as if no process had ended, with the workers of the time;
        drawn fates stay as they are. The first balance and the plan are those of the scenario now in force.
        """
        now_s, now_utc = self.clock.now(), self.clock.utc()
        past, at_utc = PastWork(self._settle), float("-inf")
        for line in lines:
            # The machine's clock may have been set back meanwhile; creation times must ascend and be past.
            at_utc = min(max(at_utc, line.at_utc), now_utc)
            at_s = now_s - (now_utc - at_utc)
            past.advance(at_s)
            match line:
                case Start():
                    self._began_s = min(self._began_s, at_s)
                    past.staff(line.workers)
                case Staff():
                    past.staff(line.workers)
                case TopUp():
                    self.credits.add(line.amount_usd)
                case Submit():
                    self.admit(at_s)
                    account = self.books.account_of(line.model, orjson.loads(bytes(line.body)))
                    job = self._old_job(account, line, at_s, at_utc)
                    self._take(account, job)
                    past.add(job)
                case Cancel():
                    job = self.jobs[line.request_id]
                    job.charged_cancel, job.deleted = line.charged, line.deleted
                    if job.state not in TERMINAL:
                        past.cancel(job)
        past.advance(now_s)
        self._pool.go_on(past)

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

    def top_up(self, amount_usd: float) -> None:
        """Add to the balance."""
        self.write_down(TopUp(at_utc=self.clock.utc(), amount_usd=amount_usd))
        self.credits.add(amount_usd)

    def admit(self, now_s: float) -> float | None:
        """Take room in the plan's window and return None, or return the seconds until there is some."""
        rate = self.scenario.rate
        sliding = rate.window_kind == "sliding"
        return self.window.admit(now_s, limit=rate.requests_per_window, window_s=rate.window_s, sliding=sliding)

    def accept(self, account: BodyAccount, body: dict[str, object], *, attempt: int) -> Job:
        """Take a job on: from here it runs and is billed if it completes."""
        job = self._new_job(account, body, attempt)
        self.write_down(_submit_line(job, at_utc=job.created_utc - self.scenario.clock_offset_s))
        self._take(account, job)
        self._pool.add(job)
        return job

    def cancel(self, job: Job, *, charged_when: frozenset[JobState], deletes: bool) -> None:
        """End a job that has not ended, and forget it if the vendor does; charged if it is in one of these states."""
        if job.state in TERMINAL and not deletes:
            return
        charged = job.state in charged_when
        self.write_down(Cancel(at_utc=self.clock.utc(), request_id=job.request_id, charged=charged, deleted=deletes))
        job.charged_cancel, job.deleted = charged, deletes
        if job.state not in TERMINAL:
            self._pool.cancel(job)

    def find(self, request_id: str) -> Job | None:
        """Return the job if its record is still kept and already visible."""
        job = self.jobs.get(request_id)
        if job is None or job.deleted:
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

    def shape_of(self, job: Job) -> OutputShape:
        """Return the shape of the job's result: the scenario's, or by default that of what the model gives."""
        shape = self.scenario.output.shape
        return SHAPES.get(job.model, shape) if shape == "documented" else shape

    def file_urls(self, job: Job) -> list[str]:
        """Return where the job's outputs can be fetched."""
        extension = self.clips.extension(self.shape_of(job))
        names = (f"{job.request_id}-{index}.{extension}" for index in range(job.files_count))
        return [f"{self.media_url}/generations/{name}" for name in names]

    def clip(self, file_name: str, revision: str = "") -> Clip:
        """Return the file of this name; another revision has another content and length."""
        stem, _, extension = file_name.rpartition(".")
        return self.clips.make(stem + revision, extension, size_bytes=self.scenario.output.file_bytes)

    def _take(self, account: BodyAccount, job: Job) -> None:
        self.jobs[job.request_id] = job
        self.newest_last.append(job)
        self.models_seen.add(job.model)
        self.files_per_job_max = max(self.files_per_job_max, job.files_count)
        self.books.accepted(account, job.request_id)
        self._idle.clear()
        self.credits.hold(job.price_usd)
        for fault in job.faults & {Fault.FAILED_JOB, Fault.STUCK_JOB}:
            self.draws.note(fault)

    def _old_job(self, account: BodyAccount, line: Submit, at_s: float, at_utc: float) -> Job:
        account.attempts = max(account.attempts, line.attempt + 1)
        return Job(
            request_id=line.request_id,
            model=line.model,
            body=account.body,
            body_sha256=account.sha256,
            nth=account.accepted,
            attempt=line.attempt,
            created_s=at_s,
            created_utc=at_utc + self.scenario.clock_offset_s,
            duration_s=line.duration_s,
            price_usd=line.price_usd,
            files_count=line.files_count,
            faults=frozenset(line.faults),
            error=line.error,
        )

    def _new_job(self, account: BodyAccount, body: dict[str, object], attempt: int) -> Job:
        key = f"{account.sha256}:{account.accepted}"
        error = refused_input(account.model, body)
        faults = frozenset(
            fault for fault in JOB if self.draws.would_hit(fault, account.sha256, account.accepted, account.body)
        )
        duration_s = self._duration_s(key) if error is None else self.scenario.work.invalid_s
        if error is None and Fault.FAILED_JOB in faults:
            error = self.scenario.work.failed_error
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
        if job.state is JobState.CANCELLED:
            self.credits.settle(job.price_usd, paid=job.charged_cancel)
            self.books.cancelled(job.price_usd, charged=job.charged_cancel)
        else:
            self.credits.settle(job.price_usd, paid=paid)
            self.books.ended(job.body_sha256, job.price_usd, paid=paid)
        job.remaining_credits_usd = round(self.credits.balance_usd, 6)
        if (waiting := self._ends.pop(job.request_id, None)) is not None:
            waiting.set()
        if not self.books.in_flight:
            self._idle.set()


def _submit_line(job: Job, *, at_utc: float) -> Submit:
    return Submit(
        at_utc=at_utc,
        request_id=job.request_id,
        model=job.model,
        body=msgspec.Raw(job.body),
        attempt=job.attempt,
        duration_s=job.duration_s,
        price_usd=job.price_usd,
        files_count=job.files_count,
        faults=tuple(sorted(job.faults)),
        error=job.error,
    )


def _forget(_line: Line) -> None:
    """Without a journal, nothing outlives the process."""
