"""Move every job through its life, many at once, within the plan: wires the moving parts and knows when to end.

The feeder offers pending jobs, the launcher submits them, the harvest brings them home, the reconciler settles
what is unknown; two lanes pace what is asked of the provider (one lane, if the plan counts every request
alike), and landing counts the outcomes. Knows nothing of HTTP, files or SQL.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

from engine.errors import EngineError, first_of
from engine.input_files.stager import AHEAD_CONCURRENCY
from engine.job.model_name import provider_of
from engine.job.states import State
from engine.ledger.flights import flights_in, unknowns
from engine.scheduling.agenda import Agenda
from engine.scheduling.backlog import Backlog
from engine.scheduling.backpressure import Backpressure
from engine.scheduling.cancel_orders import CancelOrders
from engine.scheduling.credit import Credit
from engine.scheduling.downloads import Downloads
from engine.scheduling.feeder import Feeder
from engine.scheduling.guard import Guard
from engine.scheduling.harvest import Harvest
from engine.scheduling.in_flight import InFlight
from engine.scheduling.landing import Landing
from engine.scheduling.lane import Urgency
from engine.scheduling.launcher import Launcher
from engine.scheduling.outlook import Outlook
from engine.scheduling.poll_planner import PollPlanner
from engine.scheduling.poll_price import PollPrice
from engine.scheduling.reads import Reads
from engine.scheduling.reconciler import Findings, Reconciler
from engine.scheduling.setbacks import Setbacks
from engine.scheduling.steps import AtRest
from engine.scheduling.stop import Manner
from engine.scheduling.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.config import RunConfig
    from engine.input_files.stager import Stager
    from engine.job.flight import Flight
    from engine.ledger.cancel_book import Place
    from engine.ledger.ledger import Ledger
    from engine.provider.history import History
    from engine.provider.protocol import Unavailable
    from engine.scheduling.deadline import Deadline, Target
    from engine.scheduling.landing import Rules
    from engine.scheduling.lane import Lanes
    from engine.scheduling.life import Life
    from engine.scheduling.polling import PollingPolicy
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally

TICK_S = 1.0
LAST_REPLIES_S = 1.0
"""What a hard stop grants to submissions under way: each reply that still comes is one outcome less unknown."""


class _StopNow(Exception):  # noqa: N818 (a signal to our own task group, not an error)
    """Ends every request under way."""


class Scheduler:
    """The moving parts of one run.

    Args:
        history: the provider's record of requests; None if it has none.
        stager: uploads the local files of jobs that wait for their turn.
        ask_credits: reads the account's balance in US dollars.
        polling_for: the polling policy of a model.
        record_life_s: how long the provider keeps a request's record, from its submission.
        output_life_s: how long the files of a result can be downloaded.
        low_disk: words for a disk without room for further results; empty while there is.
        wait_for_credit: whether an empty account is waited for even when nothing is in flight.
        on_decided: called whenever an outcome was decided and its line is owed.
        announce: tells the person something worth a line.
        deadline: when what was submitted should be home; None if that does not matter.
        target: when the whole batch should be home; None if that does not matter.
        provider: the name of the provider whose jobs it works on; None for all there are.
        on_stop: carries out a reason to stop that was found here; by default ``request_stop``.
        download_places: how many files are downloaded at the same time, now; by default as configured.
        others_under_way: how many jobs of other providers are under way: their end may make room in the budget.
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
        stager: Stager,
        ask_credits: Callable[[], Awaitable[float | Unavailable | None]],
        polling_for: Callable[[str], PollingPolicy],
        clock: Clock,
        tally: Tally,
        log: FilteringBoundLogger,
        record_life_s: float,
        output_life_s: float = math.inf,
        low_disk: Callable[[], str],
        wait_for_credit: bool,
        on_decided: Callable[[], None],
        announce: Callable[[str], None],
        deadline: Deadline | None,
        target: Target | None,
        provider: str | None = None,
        on_stop: Callable[[Stop], None] | None = None,
        download_places: Callable[[], int] | None = None,
        others_under_way: Callable[[], int] = int,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._on_stop = on_stop or self.request_stop
        self._download_places = download_places or (lambda: config.downloads.concurrency)
        self._others_under_way = others_under_way
        self._lanes = lanes
        self._config = config
        self._spend = rules.spend
        self._polling_for = polling_for
        self._clock = clock
        self._tally = tally
        self._log = log
        self._low_disk = low_disk
        self._stager = stager
        self._disk_reason = ""
        self._pause_reason = ""
        self._taken_up = False
        self._last_look_after = -1
        self._finished = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self.stop: Stop | None = None

        self._agenda = Agenda()
        self._in_flight = InFlight(clock, record_life_s=record_life_s)
        self._guard = Guard(life, log=log, on_stop=self._on_stop)
        self._setbacks = Setbacks(tally, agenda=self._agenda, clock=clock, log=log, on_stop=self._on_stop)
        self._backpressure = Backpressure(
            max_in_flight=config.limits.max_in_flight,
            reads=lanes.reads,
            typical_s=self._slowest_typical_s,
            record_life_s=record_life_s,
            backlog=Backlog(
                waiting=lambda: tally.downloading, places=self._download_places, life_s=output_life_s, clock=clock
            ),
            clock=clock,
        )
        self._price = PollPrice(
            submits=lanes.submits,
            reads=lanes.reads,
            polling_for=polling_for,
            under_way=lambda: self._in_flight.by_model,
            places=lambda: self._backpressure.bound,
            waiting=lambda: tally.pending,
        )
        self._reconciler = self._build_reconciler(history)
        self._landing = Landing(
            self._in_flight,
            rules,
            tally,
            log=log,
            on_unknown=self._reconciler.add,
            on_down=self._wake_feeder,
            on_decided=on_decided,
            on_stop=self._on_stop,
            announce=announce,
        )
        self._reads = Reads(
            lanes.reads, agenda=self._agenda, clock=clock, polling_for=polling_for, record_life_s=record_life_s
        )
        self._downloads = self._build_downloads(life)
        self._harvest = self._build_harvest(life, record_life_s)
        self._credit = Credit(
            ask=ask_credits,
            clock=clock,
            price_usd=lambda: self._feeder.next_price_usd,
            may_wait=lambda: wait_for_credit or len(self._in_flight) > 0,
            on_open=self._wake_feeder,
            on_broke=self._on_stop,
        )
        self._launcher = self._build_launcher(life)
        self._feeder = self._build_feeder(rules)
        self._cancel_orders = self._build_cancel_orders(life, announce)
        self._outlook = Outlook(lanes, self._feeder, self._in_flight, self._reconciler, tally=tally, clock=clock)
        self._timekeeper = Timekeeper(
            deadline,
            target,
            backpressure=self._backpressure,
            submits=lanes.submits,
            models=self._models,
            polling_for=polling_for,
            clock=clock,
            tally=tally,
            on_stop=self._on_stop,
            announce=announce,
        )

    # --- the parts --------------------------------------------------------------------------------

    def _build_reconciler(self, history: History | None) -> Reconciler:
        return Reconciler(
            self._ledger,
            history,
            policy=self._config.recovery.on_unknown,
            grace_s=self._config.recovery.grace_s,
            attempts_max=self._config.retry.attempts_max,
            clock=self._clock,
            log=self._log,
            findings=Findings(self._adopted, self._submit_once_more, self._given_up, self._changed),
        )

    def _build_downloads(self, life: Life) -> Downloads:
        return Downloads(
            life,
            self._guard,
            self._reads,
            self._in_flight,
            self._landing,
            agenda=self._agenda,
            clock=self._clock,
            tally=self._tally,
            log=self._log,
            setbacks=self._setbacks,
            places=self._download_places,
            on_stop=self._on_stop,
            on_stored=self._backpressure.backlog.stored,
            on_change=self._changed,
        )

    def _build_harvest(self, life: Life, record_life_s: float) -> Harvest:
        planner = partial(
            PollPlanner,
            self._in_flight,
            agenda=self._agenda,
            clock=self._clock,
            polling_for=self._polling_for,
            record_life_s=record_life_s,
            on_finished=self._backpressure.finished,
        )
        return Harvest(
            life,
            self._guard,
            self._reads,
            self._in_flight,
            self._landing,
            downloads=self._downloads,
            planner=lambda offer: planner(offer=offer),
            agenda=self._agenda,
            clock=self._clock,
            tally=self._tally,
            setbacks=self._setbacks,
            on_not_cancelled=self._not_cancelled,
            on_change=self._changed,
        )

    def _build_launcher(self, life: Life) -> Launcher:
        return Launcher(
            life,
            self._guard,
            self._lanes.submits,
            self._in_flight,
            self._landing,
            agenda=self._agenda,
            clock=self._clock,
            credit=self._credit,
            spend=self._spend,
            tally=self._tally,
            log=self._log,
            setbacks=self._setbacks,
            on_accepted=self._accepted,
            on_answered=self._harvest.take_answer,
            take_back=self._take_back,
            on_stop=self._on_stop,
            on_change=self._changed,
        )

    def _build_feeder(self, rules: Rules) -> Feeder:
        return Feeder(
            self._ledger,
            self._lanes.submits,
            self._in_flight,
            spend=self._spend,
            canary=rules.canary,
            credit=self._credit,
            start=self._launcher.submit,
            comes_first=self._comes_first,
            elsewhere=self._elsewhere,
            backpressure=self._backpressure,
            expect=self._stager.expect,
            provider=self._provider,
            pending=lambda: self._tally.pending,
            others_under_way=self._others_under_way,
        )

    def _build_cancel_orders(self, life: Life, announce: Callable[[str], None]) -> CancelOrders:
        return CancelOrders(
            self._ledger,
            life.canceller,
            self._in_flight,
            self._landing,
            tally=self._tally,
            log=self._log,
            unknown=self._reconciler.find,
            withdraw=self._feeder.withdraw,
            hasten=self._harvest.hasten,
            announce=announce,
            on_change=self._changed,
            is_ours=self._is_ours,
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
                self._tasks = tasks
                loops = self._start_loops(tasks)
                self._look_for_end()
                await self._finished.wait()
                self._downloads.cancel()
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
        self._changed()

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind down; the first reason is kept, a harder manner replaces a softer one."""
        if self.stop is not None and stop.manner <= self.stop.manner:
            return
        self._log.warning("stopping", kind=stop.kind, reason=stop.message, manner=stop.manner.name.lower())
        # A hard stop adds no reason of its own; any other harder one is what the person has to know.
        self.stop = self.stop.harder(stop.manner) if self.stop and stop.manner is Manner.NOW else stop
        self._feeder.close()
        if stop.manner >= Manner.DOWNLOADS:
            for urgency in Urgency:
                self._lanes.reads.close_class(urgency)
            self._downloads.close()
        if stop.manner is Manner.NOW:
            self._finished.set()
        self._look_for_end()

    def pause(self, reason: str) -> None:
        """Submit nothing new from now on; an empty reason goes on. What is in flight is harvested."""
        self._pause_reason = reason
        self._changed()

    async def cancel(self, places: Iterable[Place]) -> None:
        """Cancel jobs that are not at rest."""
        for place in places:
            await self._cancel_orders.ask(place)
        self._changed()

    def cancel_in_flight(self) -> None:
        """Cancel everything that is in flight, as far as the provider can."""
        self._cancel_orders.ask_all()

    @property
    def can_cancel(self) -> bool:
        """Whether anything that is in flight can be cancelled."""
        return self._cancel_orders.can_cancel_any

    def change_limits(self, config: RunConfig) -> None:
        """Keep to the limits and the budget of another configuration from now on."""
        limits = config.limits
        self._backpressure.max_in_flight = limits.max_in_flight
        self._spend.cost_usd_max = config.budget.cost_usd_max
        if limits.submits_per_minute != self._config.limits.submits_per_minute:
            self._lanes.submits.pace.limit(limits.submits_per_minute)
        if limits.polls_per_minute != self._config.limits.polls_per_minute and not limits.shared:
            self._lanes.reads.pace.limit(limits.polls_per_minute)
        self._config = config
        self._changed()

    @property
    def under_way(self) -> int:
        """How many jobs are in flight, or offered and reserved for."""
        return len(self._in_flight) + self._feeder.offered

    @property
    def waits_for(self) -> str:
        """One sentence on what the run waits for; empty while nothing is in flight and nothing holds it up."""
        return self._outlook.sentence(self.stop)

    @property
    def is_held_up(self) -> bool:
        """Whether something keeps submissions from going out, besides the pace and the places in flight."""
        return self._outlook.is_held_up

    @property
    def submit_pace_per_minute(self) -> float:
        """How many submissions a minute may go out now."""
        return self._lanes.submits.per_minute

    @property
    def shortfall(self) -> str:
        """Why the batch will not be home by its target; empty if it will, or has none."""
        return self._timekeeper.shortfall

    @property
    def harvest_s(self) -> float | None:
        """How long what is in flight may still take, in seconds; None if nobody knows."""
        return self._harvest.left_s

    # --- start ------------------------------------------------------------------------------------

    def _start_loops(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        lanes = dict.fromkeys((self._lanes.submits, self._lanes.reads))
        self._downloads.staff(tasks)
        return [
            *(tasks.create_task(lane.run(tasks), name=f"{lane.name}-lane") for lane in lanes),
            *(tasks.create_task(self._stager.run(), name=f"stager-{number}") for number in range(AHEAD_CONCURRENCY)),
            tasks.create_task(self._feeder.run(), name="feeder"),
            tasks.create_task(self._reconciler.run(), name="reconciler"),
            tasks.create_task(self._credit.watch(), name="credit-watch"),
            tasks.create_task(self._cancel_orders.run(), name="cancel-orders"),
        ]

    async def _take_up(self) -> None:
        """Take up what an earlier process left: finished generations, then running ones, then unknown ones."""
        ready = self._mine(await self._ledger.read(flights_in, State.READY))
        running = self._mine(await self._ledger.read(flights_in, State.SUBMITTED))
        unknown = self._mine(await self._ledger.read(unknowns))
        now, utc = self._clock.now(), self._clock.utc()
        for flight in (*ready, *running, *unknown):
            flight.anchor(now=now, utc=utc)
        await self._cancel_orders.take_up(running, unknown)
        for flight in ready:
            self._harvest.take_up_result(flight)
        for flight in running:
            self._harvest.take_up(flight)
        self._reconciler.take_up(unknown)
        self._taken_up = True
        self._tick()

    def _mine(self, flights: list[Flight]) -> list[Flight]:
        """Return those of the provider that this scheduler works with."""
        return [flight for flight in flights if self._is_ours(flight.model)]

    def _is_ours(self, model: str) -> bool:
        return self._provider is None or provider_of(model) == self._provider

    def _tick(self) -> None:
        """Look again every second: time itself opens and closes gates (a record ages, a lost submission has ended)."""
        self._agenda.at(self._clock.now() + TICK_S, self._tick)
        if self._tasks is not None and not self._finished.is_set():
            self._downloads.staff(self._tasks)
        self._price.look()
        self._disk_reason = self._low_disk()
        self._timekeeper.look()
        self._changed()

    def _comes_first(self) -> str:
        """Say what has to be seen to before anything new is submitted; empty if nothing."""
        if self._harvest.to_ask_first:
            return f"{self._harvest.to_ask_first} requests of an earlier process are asked about first"
        if not self._reconciler.first_pass_done:
            return f"{len(self._reconciler)} unknown outcomes of an earlier process are looked up first"
        return self._pause_reason or self._disk_reason

    # --- unknown outcomes -------------------------------------------------------------------------

    def _elsewhere(self) -> int:
        """Count lost submissions that may be running at the provider now."""
        return self._reconciler.recent(lambda model: self._polling_for(model).typical_s or 0.0)

    def _adopted(self, flight: Flight) -> None:
        self._tally.unknown -= 1
        self._cancel_orders.accepted(flight)
        self._harvest.take_up(flight)

    def _submit_once_more(self, flight: Flight, *, proven: bool) -> None:
        self._tally.unknown -= 1
        self._tally.pending += 1
        if proven:
            self._spend.give_back(flight.job, accepted=False)
        else:
            self._spend.write_off(flight.job)
        self._take_back(flight)

    def _given_up(self, flight: Flight, *, copies: int) -> None:
        self._tally.unknown -= 1
        self._landing.rest(flight, AtRest(succeeded=False, copies=copies))

    # --- what the parts tell each other -----------------------------------------------------------

    def _models(self) -> list[str]:
        """Return the models of what is in flight, or of what comes next."""
        in_flight = [model for model, count in self._in_flight.by_model.items() if count > 0]
        return in_flight or self._feeder.next_models

    def _slowest_typical_s(self) -> float | None:
        known = [self._polling_for(model).typical_s for model, count in self._in_flight.by_model.items() if count > 0]
        return max((typical_s for typical_s in known if typical_s is not None), default=None)

    def _take_back(self, flight: Flight) -> None:
        if not self._cancel_orders.takes(flight):
            self._feeder.take_back(flight)

    def _accepted(self, flight: Flight) -> None:
        self._cancel_orders.accepted(flight)
        self._harvest.follow(flight)

    def _not_cancelled(self, flight: Flight, reason: str) -> None:
        self._cancel_orders.say_not_cancelled(flight, reason)

    def _wake_feeder(self) -> None:
        self._feeder.wake()

    def _changed(self) -> None:
        self._feeder.wake()
        self._look_for_end()

    # --- the end ----------------------------------------------------------------------------------

    def _look_for_end(self) -> None:
        """Finish when nothing moves and nothing more can come."""
        if not self._taken_up or self._finished.is_set() or not self._all_landed():
            return
        if self.stop is not None:
            self._finished.set()
        elif self._tally.pending == 0 and self._tally.input_complete:
            self._settle_unknowns()
        elif self._feeder.refusal and not (self._feeder.offered or self._reconciler.waits or self._others_under_way()):
            self._on_stop(self._spend.stop(self._feeder.refusal))

    def _settle_unknowns(self) -> None:
        """At the end of the batch: wait for what the history may still show, then submit again what it lacks.

        A last look is due whenever something was submitted since the one before: it may be the proof.
        """
        if self._reconciler.waits:
            return
        if len(self._reconciler) and self._last_look_after != self._tally.submits:
            self._last_look_after = self._tally.submits
            self._reconciler.ask_release()
        else:
            self._finished.set()

    def _all_landed(self) -> bool:
        """Whether nothing is in flight any more that this process will still move."""
        if self.stop is not None and self.stop.manner >= Manner.DOWNLOADS:
            return self._tally.downloading == 0 and self._tally.submitting == 0
        return len(self._in_flight) == 0
