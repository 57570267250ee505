"""Move every job through its life, many at once, within the plan.

Jobs come from the ledger in blocks while there is room in flight. Two lanes pace what is asked of the
provider (one lane, if the plan counts every request alike); an agenda remembers when each request is due; a
few workers download. Each step is made by ``Life``, and ``_after_*`` decides what follows from what it came to.
No job has a task of its own while it waits. Knows nothing of HTTP, files or SQL.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, TypeVar, assert_never

from engine.backoff import backoff_s
from engine.errors import EngineError, ExitCode, first_of
from engine.job.states import State
from engine.scheduling.agenda import Agenda
from engine.scheduling.lane import Lane, Urgency
from engine.scheduling.steps import (
    AskAgain,
    AtRest,
    Fetched,
    Finished,
    SetAside,
    SlowDown,
    StillWorking,
    StopRun,
    SubmitAgain,
    Submitted,
    Unreachable,
)
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.scheduling.life import Life
    from engine.scheduling.polling import PollingPolicy
    from engine.scheduling.steps import DownloadStep, FetchStep, PollStep, SubmitStep
    from engine.scheduling.tally import Tally

FEED_BLOCK = 256
OUTAGE_FIRST_S = 1.0
OUTAGE_MAX_S = 60.0
LIKELY_SHARE = 0.9
FORBIDDEN_IN_A_ROW_MAX = 5
INTERNAL_ERRORS_MAX = 5
LAST_REPLIES_S = 1.0
"""What a hard stop grants to submissions under way: each reply that still comes is one outcome less unknown."""
NEGLECT_SHARE = 1 / 12
"""Share of the record's life after which a request that nobody asked about counts as neglected."""

_Step = TypeVar("_Step")


class _StopNow(Exception):  # noqa: N818 (a signal to our own task group, not an error)
    """Ends every request under way."""


class Scheduler:
    """The moving parts of one run.

    Args:
        polling_for: the polling policy of a model.
        max_in_flight: jobs submitted and not yet at rest, at most.
        record_life_s: how long the provider keeps a request's record, from its submission.
        on_decided: called whenever an outcome was decided and its line is owed.
    """

    def __init__(
        self,
        ledger: Ledger,
        life: Life,
        *,
        submits: Lane,
        reads: Lane,
        polling_for: Callable[[str], PollingPolicy],
        clock: Clock,
        rng: random.Random,
        tally: Tally,
        log: FilteringBoundLogger,
        max_in_flight: int,
        download_concurrency: int,
        record_life_s: float,
        on_decided: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._life = life
        self._submits = submits
        self._reads = reads
        self._polling_for = polling_for
        self._clock = clock
        self._rng = rng
        self._tally = tally
        self._log = log
        self._max_in_flight = max_in_flight
        self._download_concurrency = download_concurrency
        self._record_life_s = record_life_s
        self._on_decided = on_decided
        self._agenda = Agenda()
        self._in_flight: dict[int, Flight] = {}
        self._unresolved: dict[int, Flight] = {}
        self._waiting: deque[Flight] = deque()
        self._fed_up_to = -1
        self._offered = 0
        self._returning = 0
        self._room = asyncio.Event()
        self._downloads: asyncio.PriorityQueue[tuple[float, int, Flight]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._outages: Counter[str] = Counter()
        self._forbidden_in_a_row = 0
        self._internal_errors = 0
        self._finished = asyncio.Event()
        self.stop: Stop | None = None

    # --- from outside -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until every job is at rest or set aside, or until a stop is carried out.

        Raises:
            EngineError: the ledger or the disk failed; nothing more can be recorded.
        """
        await self._take_up()
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(lane.run(tasks), name=f"{lane.name}-lane")
                    for lane in dict.fromkeys((self._submits, self._reads))
                ]
                loops += [
                    tasks.create_task(self._download_loop(), name=f"download-{number}")
                    for number in range(self._download_concurrency)
                ]
                loops.append(tasks.create_task(self._feed_loop(), name="feed"))
                self._look_for_end()
                await self._finished.wait()
                for loop in loops:
                    loop.cancel()
                if self.stop is not None and self.stop.manner is Manner.NOW:
                    await self._clock.sleep(LAST_REPLIES_S)
                    raise _StopNow  # noqa: TRY301 (a task group ends its tasks only for an exception)
        except* _StopNow:
            self._log.warning("stopped_now", in_flight=len(self._in_flight))
        except* EngineError as group:
            raise first_of(group) from None
        finally:
            self._agenda.clear()

    def input_grew(self, pending: int) -> None:
        """Take note of new jobs in the ledger, or of the end of the input."""
        self._tally.pending += pending
        self._room.set()
        self._look_for_end()

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind down; the first reason is kept, a harder manner replaces a softer one."""
        if self.stop is not None and stop.manner <= self.stop.manner:
            return
        self._log.warning("stopping", kind=stop.kind, reason=stop.message, manner=stop.manner.name.lower())
        self.stop = stop if self.stop is None or stop.manner is Manner.NOW else _harder(self.stop, stop)
        self._submits.close_class(Urgency.SUBMIT)
        self._offered = 0
        if stop.manner >= Manner.DOWNLOADS:
            for urgency in Urgency:
                self._reads.close_class(urgency)
        if stop.manner is Manner.NOW:
            self._finished.set()
        self._look_for_end()

    @property
    def oldest_age_s(self) -> float:
        """Age of the oldest request in flight, in seconds; 0 if there is none."""
        submitted = (flight.submitted_utc for flight in self._unresolved.values())
        return max(0.0, self._clock.utc() - min(submitted, default=self._clock.utc()))

    @property
    def waits_for(self) -> str:
        """One sentence on what the run waits for; empty while everything moves."""
        if self.stop is not None:
            return f"{self.stop.kind}: harvesting {len(self._in_flight)} jobs in flight"
        for lane in (self._submits, self._reads):
            if lane.open_in_s > 0:
                why = "the provider is out of reach" if self._outages[lane.name] else "the provider asks us to wait"
                return f"{why}; next {lane.name} request in {lane.open_in_s:.0f} s"
        if self._falls_behind():
            return f"submits pause: the oldest request is {self.oldest_age_s / 60:.0f} min old and its record expires"
        return ""

    @property
    def harvest_s(self) -> float | None:
        """How long what is in flight may still take, in seconds; None if nobody knows."""
        left = [
            typical_s - self._age_s(flight)
            for flight in self._unresolved.values()
            if (typical_s := self._polling_for(flight.model).typical_s) is not None
        ]
        return max(0.0, *left) if left else None

    # --- start ------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        """Take up what an earlier process left: finished generations first, then running ones, oldest first."""
        for flight in await self._ledger.under_way(State.READY):
            self._board(flight)
            self._tally.downloading += 1
            self._queue_download(flight)
        for flight in await self._ledger.under_way(State.SUBMITTED):
            self._board(flight)
            self._unresolved[flight.job] = flight
            self._tally.generating += 1
            self._agenda.at(self._clock.now(), partial(self._offer_poll, flight))
        self._room.set()

    # --- submitting -------------------------------------------------------------------------------

    async def _feed_loop(self) -> None:
        """Offer pending jobs to the submit lane while there is room in flight."""
        while True:
            await self._room.wait()
            self._room.clear()
            while self._may_offer() and (flight := await self._next_pending()) is not None:
                if not self._may_offer():  # the world may have changed while the ledger was asked
                    self._waiting.appendleft(flight)
                    break
                self._offered += 1
                self._submits.offer(Urgency.SUBMIT, partial(self._submit, flight))
            self._look_for_end()

    def _may_offer(self) -> bool:
        room = self._max_in_flight - len(self._in_flight) - self._offered
        return self.stop is None and room > 0 and self._offered < FEED_BLOCK and not self._falls_behind()

    def _falls_behind(self) -> bool:
        """Whether harvesting must come before new work.

        So it is once a request has used up half the life of its record and was not asked about for long. A
        request that is stuck at the provider is asked about in time, and holds nobody up.
        """
        now = self._clock.utc()
        for flight in self._unresolved.values():  # in the order of their submission
            if now - flight.submitted_utc <= self._record_life_s / 2:
                return False
            if now - max(flight.last_working_utc, flight.submitted_utc) > self._record_life_s * NEGLECT_SHARE:
                return True
        return False

    async def _next_pending(self) -> Flight | None:
        if not self._waiting:
            block = await self._ledger.pending_after(self._fed_up_to, FEED_BLOCK)
            self._waiting.extend(block)
            if block:
                self._fed_up_to = block[-1].job
        return self._waiting.popleft() if self._waiting else None

    async def _submit(self, flight: Flight, epoch: int) -> None:
        if self.stop is not None:
            return  # it was chosen in the very turn in which the stop came; it is still PENDING
        self._offered -= 1
        self._board(flight)
        self._tally.pending -= 1
        self._tally.submitting += 1
        self._tally.submits += 1
        step = await self._guarded(flight, self._life.submit(flight))
        self._tally.submitting -= 1
        self._after_submit(flight, epoch, step)
        self._room.set()
        self._look_for_end()

    def _after_submit(self, flight: Flight, epoch: int, step: SubmitStep) -> None:
        match step:
            case Submitted():
                self._reached(self._submits)
                self._forbidden_in_a_row = 0
                self._unresolved[flight.job] = flight
                self._tally.generating += 1
                self._log.info("submitted", id=flight.id, request_id=flight.request_id, attempt=flight.attempts)
                self._plan_poll(flight)
            case AtRest():
                self._reached(self._submits)
                self._count_forbidden(flight)
                self._rest(flight, step)
            case SetAside():
                # A provider that loses replies would turn one job after the other into an unknown.
                self._out_of_reach(self._submits, flight.error.message if flight.error else "")
                self._set_aside(flight)
            case SubmitAgain(delay_s):
                self._reached(self._submits)
                self._return(flight, delay_s)
            case SlowDown(wait_s):
                self._throttle(self._submits, epoch, wait_s)
                self._return(flight, 0.0)
            case Unreachable(reason):
                self._out_of_reach(self._submits, reason)
                self._return(flight, 0.0)
            case StopRun(stop):
                self._return(flight, 0.0)
                self.request_stop(stop)
            case _:
                assert_never(step)

    def _return(self, flight: Flight, delay_s: float) -> None:
        """Put a job that the provider certainly does not have back among those that wait, for after ``delay_s``."""
        self._leave(flight)
        self._tally.pending += 1
        self._returning += 1
        self._agenda.at(self._clock.now() + delay_s, partial(self._returned, flight))

    def _returned(self, flight: Flight) -> None:
        self._returning -= 1
        self._waiting.appendleft(flight)
        self._room.set()

    def _count_forbidden(self, flight: Flight) -> None:
        """A model refused to several jobs in a row is refused to all of them."""
        if flight.error is None or flight.error.kind != "forbidden":
            self._forbidden_in_a_row = 0
            return
        self._forbidden_in_a_row += 1
        if self._forbidden_in_a_row >= FORBIDDEN_IN_A_ROW_MAX:
            message = f"the account may not use this model: {flight.error.message}"
            hint = "check the account's rights and provider.model; then run the same command again"
            self.request_stop(Stop("forbidden", message, ExitCode.ACCOUNT, Manner.HARVEST, hint))

    # --- polling ----------------------------------------------------------------------------------

    def _age_s(self, flight: Flight) -> float:
        return max(0.0, self._clock.utc() - flight.submitted_utc)

    def _plan_poll(self, flight: Flight) -> None:
        age_s = self._age_s(flight)
        wait_s = self._polling_for(flight.model).next_age_s(age_s) - age_s
        self._agenda.at(self._clock.now() + wait_s, partial(self._offer_poll, flight))

    def _offer_poll(self, flight: Flight) -> None:
        share = self._polling_for(flight.model).share_done(self._age_s(flight))
        urgency = Urgency.LIKELY_DONE if share >= LIKELY_SHARE else Urgency.DUE
        self._reads.offer(urgency, partial(self._poll, flight), value=share)

    async def _poll(self, flight: Flight, epoch: int) -> None:
        self._tally.polls += 1
        step = await self._guarded(flight, self._life.poll(flight))
        self._after_poll(flight, epoch, step)
        self._room.set()
        self._look_for_end()

    def _after_poll(self, flight: Flight, epoch: int, step: PollStep) -> None:
        again = partial(self._offer_poll, flight)
        match step:
            case StillWorking():
                self._reached(self._reads)
                self._plan_poll(flight)
            case AskAgain(delay_s):
                self._reached(self._reads)
                self._agenda.at(self._clock.now() + delay_s, again)
            case Finished(duration_s):
                self._reached(self._reads)
                if duration_s is not None:
                    self._polling_for(flight.model).observe(duration_s)
                self._tally.generating -= 1
                self._tally.fetching += 1
                self._offer_fetch(flight)
            case AtRest():
                self._reached(self._reads)
                self._tally.generating -= 1
                self._rest(flight, step)
            case SetAside():
                self._tally.generating -= 1
                self._set_aside(flight)
            case SlowDown(wait_s):
                self._throttle(self._reads, epoch, wait_s)
                again()
            case Unreachable(reason):
                self._out_of_reach(self._reads, reason)
                again()
            case StopRun(stop):
                self.request_stop(stop)
            case _:
                assert_never(step)

    # --- fetching ---------------------------------------------------------------------------------

    def _offer_fetch(self, flight: Flight) -> None:
        # A result that was seen complete earlier goes first: its record is the next to expire.
        self._reads.offer(Urgency.RESULT, partial(self._fetch, flight), value=-flight.submitted_utc)

    async def _fetch(self, flight: Flight, epoch: int) -> None:
        step = await self._guarded(flight, self._life.fetch(flight))
        self._after_fetch(flight, epoch, step)
        self._look_for_end()

    def _after_fetch(self, flight: Flight, epoch: int, step: FetchStep) -> None:
        again = partial(self._offer_fetch, flight)
        match step:
            case Fetched(cost_usd, lag_s):
                self._reached(self._reads)
                self._unresolved.pop(flight.job, None)
                self._tally.fetching -= 1
                self._tally.downloading += 1
                self._tally.spent_usd += cost_usd or 0.0
                self._tally.lag_sum_s += lag_s
                self._tally.lag_jobs += 1
                self._queue_download(flight)
            case AskAgain(delay_s):
                self._reached(self._reads)
                self._agenda.at(self._clock.now() + delay_s, again)
            case AtRest():
                self._reached(self._reads)
                self._tally.fetching -= 1
                self._rest(flight, step)
            case SetAside():
                self._tally.fetching -= 1
                self._set_aside(flight)
            case SlowDown(wait_s):
                self._throttle(self._reads, epoch, wait_s)
                again()
            case Unreachable(reason):
                self._out_of_reach(self._reads, reason)
                again()
            case StopRun(stop):
                self.request_stop(stop)
            case _:
                assert_never(step)

    # --- downloading ------------------------------------------------------------------------------

    def _queue_download(self, flight: Flight) -> None:
        self._downloads.put_nowait((flight.submitted_utc, next(self._order), flight))

    async def _download_loop(self) -> None:
        while True:
            *_, flight = await self._downloads.get()
            step = await self._guarded(flight, self._life.download(flight))
            self._after_download(flight, step)
            self._look_for_end()

    def _after_download(self, flight: Flight, step: DownloadStep | SetAside) -> None:
        match step:
            case AtRest(_, stored_bytes):
                self._tally.downloading -= 1
                self._tally.downloaded_bytes += stored_bytes
                self._rest(flight, step)
            case AskAgain(delay_s):
                self._agenda.at(self._clock.now() + delay_s, partial(self._queue_download, flight))
            case SetAside():
                self._tally.downloading -= 1
                self._set_aside(flight)
            case StopRun(stop):
                # Its URL is recorded; the next process downloads it first.
                self._tally.downloading -= 1
                self._leave(flight)
                self.request_stop(stop)
            case _:
                assert_never(step)

    # --- boarding and leaving ---------------------------------------------------------------------

    def _board(self, flight: Flight) -> None:
        self._in_flight[flight.job] = flight
        self._tally.in_flight_peak = max(self._tally.in_flight_peak, len(self._in_flight))

    def _leave(self, flight: Flight) -> None:
        self._in_flight.pop(flight.job, None)
        self._unresolved.pop(flight.job, None)
        self._room.set()

    def _rest(self, flight: Flight, step: AtRest) -> None:
        self._leave(flight)
        if step.succeeded:
            self._tally.succeeded += 1
            self._log.info("stored", id=flight.id, request_id=flight.request_id, bytes=step.stored_bytes)
        else:
            assert flight.error is not None
            self._tally.failed += 1
            self._tally.causes[flight.error.kind] += 1
            self._tally.recent_failures.append((flight.id, flight.error.kind, flight.error.message))
            self._log.warning("failed", id=flight.id, request_id=flight.request_id, kind=flight.error.kind)
        self._on_decided()

    def _set_aside(self, flight: Flight) -> None:
        assert flight.error is not None
        self._leave(flight)
        if flight.error.kind == "unknown_outcome":
            self._tally.unknown += 1
        else:
            self._tally.held += 1
        self._log.warning("set_aside", id=flight.id, kind=flight.error.kind, reason=flight.error.message)

    # --- what the provider's state means for everybody --------------------------------------------

    def _throttle(self, lane: Lane, epoch: int, wait_s: float) -> None:
        self._tally.throttles += 1
        lane.throttled(epoch, wait_s)
        self._log.info("throttled", lane=lane.name, wait_s=round(wait_s, 3), per_minute=round(lane.per_minute, 2))

    def _reached(self, lane: Lane) -> None:
        self._outages[lane.name] = 0
        lane.accepted()

    def _out_of_reach(self, lane: Lane, reason: str) -> None:
        """Hold the lane after a request that never arrived: nothing fails, however long the outage lasts."""
        self._outages[lane.name] += 1
        wait_s = backoff_s(self._outages[lane.name], first_s=OUTAGE_FIRST_S, max_s=OUTAGE_MAX_S, rng=self._rng)
        lane.hold_until(self._clock.now() + wait_s)
        self._log.warning("unreachable", lane=lane.name, reason=reason, wait_s=round(wait_s, 3))

    async def _guarded(self, flight: Flight, step: Awaitable[_Step]) -> _Step | SetAside:
        """Make a step; a defect in it sets this one job aside instead of ending the night."""
        try:
            return await step
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it belongs to one job)
            self._log.error("internal_error", id=flight.id, error=type(error).__name__)
            self._internal_errors += 1
            if self._internal_errors >= INTERNAL_ERRORS_MAX:
                message = f"{self._internal_errors} steps broke unexpectedly, the last with {type(error).__name__}"
                self.request_stop(Stop("internal", message, ExitCode.STOPPED, Manner.HARVEST, "report it with run.log"))
            return await self._life.hold(flight, f"a step broke unexpectedly: {type(error).__name__}")

    def _look_for_end(self) -> None:
        """Finish when nothing moves and nothing more can come."""
        if self._finished.is_set() or not self._all_landed():
            return
        exhausted = self._tally.input_complete and not (self._waiting or self._offered or self._returning)
        if self.stop is not None or (exhausted and self._tally.pending == 0):
            self._finished.set()

    def _all_landed(self) -> bool:
        """Whether nothing is in flight any more that this process will still move."""
        if self.stop is not None and self.stop.manner >= Manner.DOWNLOADS:
            return self._tally.downloading == 0 and self._tally.submitting == 0
        return not self._in_flight


def _harder(first: Stop, later: Stop) -> Stop:
    """Keep the first reason, and wind down in the later, harder manner."""
    return Stop(first.kind, first.message, first.exit_code, later.manner, first.hint)
