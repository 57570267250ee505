"""Move every job through its life, many at once, within the plan.

The feeder offers pending jobs; two lanes pace what is asked of the provider (one lane, if the plan counts every
request alike); an agenda remembers when each request is due; a few workers download; the reconciler settles
what is unknown. Each step is made by ``Life``, and ``_after_*`` decides what follows from what it came to. No
job has a task of its own while it waits. Knows nothing of HTTP, files or SQL.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, assert_never

from engine.errors import EngineError, ExitCode, first_of
from engine.job.states import State
from engine.scheduling.agenda import Agenda
from engine.scheduling.credit import Credit
from engine.scheduling.feeder import Feeder
from engine.scheduling.in_flight import InFlight
from engine.scheduling.lane import Lane, Urgency
from engine.scheduling.reconciler import Findings, Reconciler
from engine.scheduling.steps import (
    AskAgain,
    AtRest,
    Fetched,
    Finished,
    OutOfCredit,
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
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.config import RunConfig
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.provider.history import History
    from engine.provider.protocol import Unavailable
    from engine.scheduling.halt import Canary, HaltRules
    from engine.scheduling.life import Life
    from engine.scheduling.polling import PollingPolicy
    from engine.scheduling.spend import Spend
    from engine.scheduling.steps import DownloadStep, FetchStep, PollStep, SubmitStep
    from engine.scheduling.tally import Tally

LIKELY_SHARE = 0.9
POSSIBLE_SHARE = 0.02
FORBIDDEN_IN_A_ROW_MAX = 5
INTERNAL_ERRORS_MAX = 5
TICK_S = 1.0
LAST_REPLIES_S = 1.0
"""What a hard stop grants to submissions under way: each reply that still comes is one outcome less unknown."""

_Step = TypeVar("_Step")


class _StopNow(Exception):  # noqa: N818 (a signal to our own task group, not an error)
    """Ends every request under way."""


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes of submissions and of reading requests; one and the same if the plan counts all alike."""

    submits: Lane
    reads: Lane


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides whether the batch goes on."""

    spend: Spend
    canary: Canary
    halt: HaltRules


class Scheduler:
    """The moving parts of one run.

    Args:
        history: the provider's record of requests; None if it has none.
        ask_credits: reads the account's balance in US dollars.
        polling_for: the polling policy of a model.
        record_life_s: how long the provider keeps a request's record, from its submission.
        low_disk: words for a disk without room for further results; empty while there is.
        wait_for_credit: whether an empty account is waited for even when nothing is in flight.
        on_decided: called whenever an outcome was decided and its line is owed.
        announce: tells the person something worth a line.
    """

    def __init__(
        self,
        ledger: Ledger,
        life: Life,
        *,
        config: RunConfig,
        lanes: Lanes,
        rules: Rules,
        history: History | None,
        ask_credits: Callable[[], Awaitable[float | Unavailable]],
        polling_for: Callable[[str], PollingPolicy],
        clock: Clock,
        tally: Tally,
        log: FilteringBoundLogger,
        record_life_s: float,
        low_disk: Callable[[], str],
        wait_for_credit: bool,
        on_decided: Callable[[], None],
        announce: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._life = life
        self._submits, self._reads = lanes.submits, lanes.reads
        self._rules = rules
        self._polling_for = polling_for
        self._clock = clock
        self._tally = tally
        self._log = log
        self._download_concurrency = config.downloads.concurrency
        self._on_decided = on_decided
        self._announce = announce
        self._agenda = Agenda()
        self._in_flight = InFlight(clock, record_life_s=record_life_s)
        self._returning = 0
        self._to_ask_first: set[int] = set()
        self._downloads: asyncio.PriorityQueue[tuple[float, int, Flight]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._forbidden_in_a_row = 0
        self._internal_errors = 0
        self._taken_up = False
        self._low_disk = low_disk
        self._disk_reason = ""
        self._finished = asyncio.Event()
        self.stop: Stop | None = None
        self._credit = Credit(
            ask=ask_credits,
            clock=clock,
            price_usd=lambda: rules.spend.price_usd(config.provider.model or ""),
            may_wait=lambda: wait_for_credit or len(self._in_flight) > 0,
            on_open=lambda: self._feeder.wake(),  # noqa: PLW0108 (the feeder is made below)
            on_broke=self.request_stop,
        )
        self._reconciler = Reconciler(
            ledger,
            history,
            policy=config.recovery.on_unknown,
            grace_s=config.recovery.grace_s,
            attempts_max=config.retry.attempts_max,
            clock=clock,
            log=log,
            findings=Findings(self._adopted, self._submit_once_more, self._given_up, self._look_for_end),
        )
        self._feeder = Feeder(
            ledger,
            self._submits,
            self._in_flight,
            spend=rules.spend,
            canary=rules.canary,
            credit=self._credit,
            start=self._submit,
            comes_first=self._comes_first,
            elsewhere=self._elsewhere,
            max_in_flight=config.limits.max_in_flight,
        )

    # --- from outside -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until every job is at rest or set aside, or until a stop is carried out.

        Raises:
            EngineError: the ledger or the disk failed; nothing more can be recorded.
        """
        await self._take_up()
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = self._start_loops(tasks)
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
            self._tally.in_flight_peak = self._in_flight.peak

    def input_grew(self, pending: int) -> None:
        """Take note of new jobs in the ledger, or of the end of the input."""
        self._tally.pending += pending
        self._feeder.wake()
        self._look_for_end()

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind down; the first reason is kept, a harder manner replaces a softer one."""
        if self.stop is not None and stop.manner <= self.stop.manner:
            return
        self._log.warning("stopping", kind=stop.kind, reason=stop.message, manner=stop.manner.name.lower())
        self.stop = stop if self.stop is None else self.stop.harder(stop.manner)
        self._feeder.close()
        if stop.manner >= Manner.DOWNLOADS:
            for urgency in Urgency:
                self._reads.close_class(urgency)
        if stop.manner is Manner.NOW:
            self._finished.set()
        self._look_for_end()

    @property
    def waits_for(self) -> str:
        """One sentence on what the run waits for; empty while everything moves."""
        if self.stop is not None:
            return f"{self.stop.message}; {len(self._in_flight)} jobs in flight are harvested"
        for lane in (self._submits, self._reads):
            if lane.open_in_s > 0:
                why = lane.outage or "the provider asks us to wait"
                return f"{why}; next {lane.name} request in {lane.open_in_s:.0f} s"
        if self._feeder.reason:
            return f"submits pause: {self._feeder.reason}"
        if not self._in_flight and len(self._reconciler):
            return f"{len(self._reconciler)} unknown outcomes are looked up in the provider's history"
        return ""

    @property
    def harvest_s(self) -> float | None:
        """How long what is in flight may still take, in seconds; None if nobody knows."""
        left = [
            typical_s - self._age_s(flight)
            for flight in self._in_flight.unresolved
            if (typical_s := self._polling_for(flight.model).typical_s) is not None
        ]
        return max(0.0, *left) if left else None

    # --- start ------------------------------------------------------------------------------------

    def _start_loops(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        lanes = dict.fromkeys((self._submits, self._reads))
        return [
            *(tasks.create_task(lane.run(tasks), name=f"{lane.name}-lane") for lane in lanes),
            *(
                tasks.create_task(self._download_loop(), name=f"download-{number}")
                for number in range(self._download_concurrency)
            ),
            tasks.create_task(self._feeder.run(), name="feeder"),
            tasks.create_task(self._reconciler.run(), name="reconciler"),
            tasks.create_task(self._credit.watch(), name="credit-watch"),
        ]

    async def _take_up(self) -> None:
        """Take up what an earlier process left: finished generations, then running ones, then unknown ones."""
        for job, model in await self._ledger.reserved():
            self._rules.spend.reserve(job, model, counted=False)
        now, utc = self._clock.now(), self._clock.utc()
        for flight in await self._ledger.under_way(State.READY):
            flight.anchor(now=now, utc=utc)
            self._in_flight.board(flight)
            self._tally.downloading += 1
            self._queue_download(flight)
        for flight in await self._ledger.under_way(State.SUBMITTED):
            flight.anchor(now=now, utc=utc)
            self._board_submitted(flight)
        unknowns = await self._ledger.unknowns()
        for flight in unknowns:
            flight.anchor(now=now, utc=utc)
        self._reconciler.take_up(unknowns)
        self._taken_up = True
        self._tick()

    def _tick(self) -> None:
        """Look again every second: time itself opens and closes gates (a record ages, a lost submission has ended)."""
        self._disk_reason = self._low_disk()
        self._feeder.wake()
        self._look_for_end()
        self._agenda.at(self._clock.now() + TICK_S, self._tick)

    def _board_submitted(self, flight: Flight) -> None:
        """Take up a request that the provider has; one that may be finished is asked about before anything new."""
        self._in_flight.board(flight)
        self._in_flight.accepted(flight)
        self._tally.generating += 1
        if self._polling_for(flight.model).share_done(self._age_s(flight)) >= POSSIBLE_SHARE:
            self._to_ask_first.add(flight.job)
            self._agenda.at(self._clock.now(), partial(self._offer_poll, flight))
        else:
            self._plan_poll(flight)

    def _comes_first(self) -> str:
        """Say what has to be seen to before anything new is submitted; empty if nothing."""
        if self._to_ask_first:
            return f"{len(self._to_ask_first)} requests of an earlier process are asked about first"
        if not self._reconciler.first_pass_done:
            return f"{len(self._reconciler)} unknown outcomes of an earlier process are looked up first"
        return self._disk_reason

    def _asked(self, flight: Flight) -> None:
        if flight.job in self._to_ask_first:
            self._to_ask_first.discard(flight.job)
            self._feeder.wake()

    # --- submitting -------------------------------------------------------------------------------

    async def _submit(self, flight: Flight, epoch: int) -> None:
        self._in_flight.board(flight)
        self._tally.pending -= 1
        self._tally.submitting += 1
        self._tally.submits += 1
        step = await self._guarded(flight, self._life.submit(flight))
        self._tally.submitting -= 1
        self._after_submit(flight, epoch, step)
        self._feeder.wake()
        self._look_for_end()

    def _after_submit(self, flight: Flight, epoch: int, step: SubmitStep) -> None:
        match step:
            case Submitted():
                self._submits.accepted()
                self._credit.accepted()
                self._forbidden_in_a_row = 0
                self._in_flight.accepted(flight)
                self._tally.generating += 1
                self._log.info("submitted", id=flight.id, request_id=flight.request_id, attempt=flight.attempts)
                self._plan_poll(flight)
            case AtRest():
                self._submits.accepted()
                self._count_forbidden(flight)
                self._rest(flight, step)
            case SetAside():
                # A provider that loses replies would turn one job after the other into an unknown.
                self._submits.unreachable(flight.error.message if flight.error else "")
                self._set_aside(flight)
            case SubmitAgain(delay_s):
                self._submits.accepted()
                self._return(flight, delay_s)
            case SlowDown(wait_s):
                self._throttle(self._submits, epoch, wait_s)
                self._return(flight, 0.0)
            case Unreachable(reason):
                self._out_of_reach(self._submits, reason)
                self._return(flight, 0.0)
            case OutOfCredit(message):
                self._log.warning("out_of_credit", reason=message)
                self._credit.park(message)
                self._return(flight, 0.0)
            case StopRun(stop):
                self._return(flight, 0.0)
                self.request_stop(stop)
            case _:
                assert_never(step)

    def _return(self, flight: Flight, delay_s: float) -> None:
        """Put a job that the provider certainly does not have back among those that wait, for after ``delay_s``."""
        self._in_flight.leave(flight)
        self._rules.spend.give_back(flight.job, accepted=False)
        self._tally.pending += 1
        self._returning += 1
        self._agenda.at(self._clock.now() + delay_s, partial(self._returned, flight))

    def _returned(self, flight: Flight) -> None:
        self._returning -= 1
        self._feeder.take_back(flight)

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

    # --- unknown outcomes -------------------------------------------------------------------------

    def _elsewhere(self) -> int:
        """Count lost submissions that may be running at the provider now."""
        return self._reconciler.recent(lambda model: self._polling_for(model).typical_s or 0.0)

    def _adopted(self, flight: Flight) -> None:
        self._tally.unknown -= 1
        self._board_submitted(flight)

    def _submit_once_more(self, flight: Flight, *, proven: bool) -> None:
        self._tally.unknown -= 1
        if proven:
            self._rules.spend.give_back(flight.job, accepted=False)
        else:
            self._rules.spend.write_off(flight.job)
        self._tally.pending += 1
        self._feeder.take_back(flight)

    def _given_up(self, flight: Flight) -> None:
        self._tally.unknown -= 1
        self._rest(flight, AtRest(succeeded=False))

    # --- polling ----------------------------------------------------------------------------------

    def _age_s(self, flight: Flight) -> float:
        return self._clock.now() - flight.submitted_at

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
        self._look_for_end()

    def _after_poll(self, flight: Flight, epoch: int, step: PollStep) -> None:
        again = partial(self._offer_poll, flight)
        match step:
            case StillWorking():
                self._reads.accepted()
                self._asked(flight)
                self._plan_poll(flight)
            case AskAgain(delay_s):
                self._reads.accepted()
                self._asked(flight)
                self._agenda.at(self._clock.now() + delay_s, again)
            case Finished(duration_s):
                self._reads.accepted()
                if duration_s is not None:
                    self._polling_for(flight.model).observe(duration_s)
                self._tally.generating -= 1
                self._tally.fetching += 1
                self._offer_fetch(flight)
            case Fetched():
                self._tally.generating -= 1
                self._tally.fetching += 1
                self._after_fetch(flight, epoch, step)
            case AtRest():
                self._reads.accepted()
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
        # The oldest submission goes first: its record is the next to expire.
        self._reads.offer(Urgency.RESULT, partial(self._fetch, flight), value=-flight.submitted_at)

    async def _fetch(self, flight: Flight, epoch: int) -> None:
        step = await self._guarded(flight, self._life.fetch(flight))
        self._after_fetch(flight, epoch, step)
        self._look_for_end()

    def _after_fetch(self, flight: Flight, epoch: int, step: FetchStep) -> None:
        again = partial(self._offer_fetch, flight)
        match step:
            case Fetched(cost_usd, lag_s):
                self._reads.accepted()
                self._asked(flight)
                self._in_flight.recorded(flight)
                self._tally.fetching -= 1
                self._tally.downloading += 1
                self._settle(flight, cost_usd, lag_s)
                self._queue_download(flight)
            case AskAgain(delay_s):
                self._reads.accepted()
                self._asked(flight)
                self._agenda.at(self._clock.now() + delay_s, again)
            case AtRest():
                self._reads.accepted()
                self._tally.fetching -= 1
                self._settle(flight, flight.cost_usd, None)
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

    def _settle(self, flight: Flight, cost_usd: float | None, lag_s: float | None) -> None:
        self._rules.spend.settle(flight.job, flight.model, cost_usd)
        self._tally.spent_usd = self._rules.spend.spent_usd
        if lag_s is not None:
            self._tally.lag_sum_s += lag_s
            self._tally.lag_jobs += 1
        self._feeder.wake()

    # --- downloading ------------------------------------------------------------------------------

    def _queue_download(self, flight: Flight) -> None:
        self._downloads.put_nowait((flight.submitted_at, next(self._order), flight))

    async def _download_loop(self) -> None:
        while True:
            *_, flight = await self._downloads.get()
            step = await self._guarded(flight, self._life.download(flight))
            self._after_download(flight, step)
            self._look_for_end()

    def _after_download(self, flight: Flight, step: DownloadStep) -> None:
        match step:
            case AtRest():
                self._tally.downloading -= 1
                self._tally.downloaded_bytes += step.stored_bytes
                self._rest(flight, step)
            case AskAgain(delay_s):
                self._agenda.at(self._clock.now() + delay_s, partial(self._queue_download, flight))
            case SetAside():
                self._tally.downloading -= 1
                self._set_aside(flight)
            case StopRun(stop):
                # Its URL is recorded; the next process downloads it first.
                self._tally.downloading -= 1
                self._in_flight.leave(flight)
                self.request_stop(stop)
            case _:
                assert_never(step)

    # --- outcomes ---------------------------------------------------------------------------------

    def _rest(self, flight: Flight, step: AtRest) -> None:
        self._in_flight.leave(flight)
        self._asked(flight)
        if flight.error is None:
            self._tally.succeeded += 1 + step.copies
            self._log.info("stored", id=flight.id, request_id=flight.request_id, bytes=step.stored_bytes)
        else:
            if not flight.error.paid:
                self._rules.spend.give_back(flight.job)
            self._tally.note_failure(flight.id, flight.error, copies=step.copies)
            self._log.warning("failed", id=flight.id, request_id=flight.request_id, kind=flight.error.kind)
        self._judge(flight, step)
        self._feeder.wake()
        self._on_decided()

    def _judge(self, flight: Flight, step: AtRest) -> None:
        """Let the rules see an outcome; one of them may stop the batch."""
        canary = self._rules.canary
        ended = canary.decided(
            flight.error,
            cost_usd=flight.cost_usd or 0.0,
            duration_s=max(0.0, flight.completed_at - flight.submitted_at),
            media_bytes=step.stored_bytes,
        )
        stop = self._rules.halt.decided(flight.error)
        if ended:
            stop = canary.stop() or stop
            if stop is None:
                self._announce(canary.report.sentence())
        if stop is not None:
            self.request_stop(stop)

    def _set_aside(self, flight: Flight) -> None:
        assert flight.error is not None
        self._in_flight.leave(flight)
        self._asked(flight)
        if flight.error.kind == "unknown_outcome":
            self._tally.unknown += 1
            self._reconciler.add(flight)
        else:
            self._tally.held += 1
        self._feeder.wake()
        self._log.warning("set_aside", id=flight.id, kind=flight.error.kind, reason=flight.error.message)

    # --- what the provider's state means for everybody --------------------------------------------

    def _throttle(self, lane: Lane, epoch: int, wait_s: float) -> None:
        self._tally.throttles += 1
        lane.throttled(epoch, wait_s)
        self._log.info("throttled", lane=lane.name, wait_s=round(wait_s, 3), per_minute=round(lane.per_minute, 2))

    def _out_of_reach(self, lane: Lane, reason: str) -> None:
        lane.unreachable(reason)
        self._log.warning("unreachable", lane=lane.name, reason=reason, wait_s=round(lane.open_in_s, 3))

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

    # --- the end ----------------------------------------------------------------------------------

    def _look_for_end(self) -> None:
        """Finish when nothing moves and nothing more can come."""
        if not self._taken_up or self._finished.is_set() or not self._all_landed():
            return
        if self.stop is not None:
            self._finished.set()
        elif self._feeder.refusal and self._tally.pending and not self._feeder.offered:
            self.request_stop(self._rules.spend.stop(self._feeder.refusal))
        elif self._tally.input_complete and self._tally.pending == 0 and not self._returning:
            self._settle_unknowns()

    def _settle_unknowns(self) -> None:
        """At the end of the batch: wait for what the history may still show, then submit again what it lacks."""
        if self._reconciler.waits:
            return
        if self._reconciler.absent:
            self._reconciler.ask_release()
        else:
            self._finished.set()

    def _all_landed(self) -> bool:
        """Whether nothing is in flight any more that this process will still move."""
        if self.stop is not None and self.stop.manner >= Manner.DOWNLOADS:
            return self._tally.downloading == 0 and self._tally.submitting == 0
        return len(self._in_flight) == 0
