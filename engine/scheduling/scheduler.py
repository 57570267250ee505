"""Move every job through its life, many at once, within the plan: starts the moving parts and knows when to end.

The feeder offers pending jobs, the launcher submits them, the harvest brings them home, the reconciler settles
what is unknown; two lanes pace what is asked of the provider (one lane, if the plan counts every request
alike), and landing counts the outcomes. Knows nothing of HTTP, files or SQL.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.errors import EngineError, first_of
from engine.input_files.stager import AHEAD_CONCURRENCY
from engine.job.states import State
from engine.ledger.flights import flights_in, unknowns
from engine.scheduling.assembly import MovingParts
from engine.scheduling.lane import Urgency
from engine.scheduling.stop import Manner
from engine.scheduling.view import Remainder, View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.config import RunConfig
    from engine.job.flight import Flight
    from engine.ledger.cancel_book import Place
    from engine.scheduling.given import Given
    from engine.scheduling.stop import Stop

TICK_S = 1.0
LAST_REPLIES_S = 1.0
"""What a hard stop grants to submissions under way: each reply that still comes is one outcome less unknown."""


class _StopNow(Exception):  # noqa: N818 (a signal to our own task group, not an error)
    """Ends every request under way."""


class Scheduler:
    """Everything that moves in one run, for one provider or for all there are.

    Attributes:
        stop: why it winds down, if it does.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self._config = given.config
        self._on_stop = given.on_stop or self.request_stop
        self._parts = MovingParts(given, on_stop=self._on_stop, on_change=self._changed, held_up=self._held_up)
        self._disk_reason = ""
        self._pause_reason = ""
        self._taken_up = False
        self._last_look_after = -1
        self._tasks: asyncio.TaskGroup | None = None
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
                self._tasks = tasks
                loops = self._start_loops(tasks)
                self._look_for_end()
                await self._finished.wait()
                self._parts.downloads.cancel()
                for loop in loops:
                    loop.cancel()
                if self.stop is not None and self.stop.manner is Manner.NOW:
                    await self._given.clock.sleep(LAST_REPLIES_S)
                    raise _StopNow  # noqa: TRY301 (a task group ends its tasks only for an exception)
        except* _StopNow:
            self._given.log.warning("stopped_now", in_flight=len(self._parts.in_flight))
        except* EngineError as group:
            raise first_of(group) from None
        finally:
            self._parts.agenda.clear()
            self._given.tally.in_flight_peak = self._parts.in_flight.peak

    def input_grew(self, pending: int) -> None:
        """Take note of new jobs in the ledger, or of the end of the input."""
        self._given.tally.pending += pending
        self._changed()

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind down; the first reason is kept, a harder manner replaces a softer one."""
        if self.stop is not None and stop.manner <= self.stop.manner:
            return
        self._given.log.warning("stopping", kind=stop.kind, reason=stop.message, manner=stop.manner.name.lower())
        # A hard stop adds no reason of its own; any other harder one is what the person has to know.
        self.stop = self.stop.harder(stop.manner) if self.stop and stop.manner is Manner.NOW else stop
        self._parts.feeder.close()
        if stop.manner >= Manner.DOWNLOADS:
            for urgency in Urgency:
                self._given.lanes.reads.close_class(urgency)
            self._parts.downloads.close()
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
            await self._parts.cancel_orders.ask(place)
        self._changed()

    def cancel_in_flight(self) -> None:
        """Cancel everything that is in flight, as far as the provider can."""
        self._parts.cancel_orders.ask_all()

    def change_limits(self, config: RunConfig) -> None:
        """Keep to the limits and the budget of another configuration from now on."""
        limits = config.limits
        self._parts.backpressure.max_in_flight = limits.max_in_flight
        self._given.rules.spend.cost_usd_max = config.budget.cost_usd_max
        if limits.submits_per_minute != self._config.limits.submits_per_minute:
            self._given.lanes.submits.pace.limit(limits.submits_per_minute)
        if limits.polls_per_minute != self._config.limits.polls_per_minute and not limits.shared:
            self._given.lanes.reads.pace.limit(limits.polls_per_minute)
        self._config = config
        self._changed()

    @property
    def under_way(self) -> int:
        """How many jobs are in flight, or offered and reserved for."""
        return len(self._parts.in_flight) + self._parts.feeder.offered

    def view(self) -> View:
        """Return how it stands now."""
        parts = self._parts
        return View(
            waits_for=parts.outlook.sentence(self.stop),
            is_held_up=parts.outlook.is_held_up,
            submit_pace_per_minute=self._given.lanes.submits.per_minute,
            shortfall=parts.timekeeper.shortfall,
        )

    def remainder(self) -> Remainder:
        """Return what is in flight, for whoever would end it."""
        return Remainder(self._parts.harvest.left_s, self._parts.cancel_orders.can_cancel_any)

    # --- start ------------------------------------------------------------------------------------

    def _start_loops(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        lanes = dict.fromkeys((self._given.lanes.submits, self._given.lanes.reads))
        self._parts.downloads.staff(tasks)
        return [
            *(tasks.create_task(lane.run(tasks), name=f"{lane.name}-lane") for lane in lanes),
            *(
                tasks.create_task(self._given.stager.run(), name=f"stager-{number}")
                for number in range(AHEAD_CONCURRENCY)
            ),
            tasks.create_task(self._parts.feeder.run(), name="feeder"),
            tasks.create_task(self._parts.reconciler.run(), name="reconciler"),
            tasks.create_task(self._parts.credit.watch(), name="credit-watch"),
            tasks.create_task(self._parts.cancel_orders.run(), name="cancel-orders"),
        ]

    async def _take_up(self) -> None:
        """Take up what an earlier process left: finished generations, then running ones, then unknown ones."""
        ledger = self._given.ledger
        ready = self._ours(await ledger.read(flights_in, State.READY))
        running = self._ours(await ledger.read(flights_in, State.SUBMITTED))
        unknown = self._ours(await ledger.read(unknowns))
        now, utc = self._given.clock.now(), self._given.clock.utc()
        for flight in (*ready, *running, *unknown):
            flight.anchor(now=now, utc=utc)
        await self._parts.cancel_orders.take_up(running, unknown)
        for flight in ready:
            self._parts.harvest.take_up_result(flight)
        for flight in running:
            self._parts.harvest.take_up(flight)
        self._parts.reconciler.take_up(unknown)
        self._taken_up = True
        self._tick()

    def _ours(self, flights: list[Flight]) -> list[Flight]:
        """Return those of the provider that this scheduler works with."""
        return [flight for flight in flights if self._given.is_ours(flight.model)]

    def _tick(self) -> None:
        """Look again every second: time itself opens and closes gates (a record ages, a lost submission has ended)."""
        self._parts.agenda.at(self._given.clock.now() + TICK_S, self._tick)
        if self._tasks is not None and not self._finished.is_set():
            self._parts.downloads.staff(self._tasks)
        self._parts.price.look()
        self._disk_reason = self._given.low_disk()
        self._parts.timekeeper.look()
        self._changed()

    def _held_up(self) -> str:
        """Say what holds submissions up that only the scheduler knows of; empty if nothing."""
        return self._pause_reason or self._disk_reason

    def _changed(self) -> None:
        self._parts.feeder.wake()
        self._look_for_end()

    # --- the end ----------------------------------------------------------------------------------

    def _look_for_end(self) -> None:
        """Finish when nothing moves and nothing more can come."""
        if not self._taken_up or self._finished.is_set() or not self._all_landed():
            return
        if self.stop is not None:
            self._finished.set()
        elif self._given.tally.pending == 0 and self._given.tally.input_complete:
            self._settle_unknowns()
        elif self._parts.feeder.refusal and not (
            self._parts.feeder.offered or self._parts.reconciler.waits or self._given.others_under_way()
        ):
            self._on_stop(self._given.rules.spend.stop(self._parts.feeder.refusal))

    def _settle_unknowns(self) -> None:
        """At the end of the batch: wait for what the history may still show, then submit again what it lacks.

        A last look is due whenever something was submitted since the one before: it may be the proof.
        """
        if self._parts.reconciler.waits:
            return
        if len(self._parts.reconciler) and self._last_look_after != self._given.tally.submits:
            self._last_look_after = self._given.tally.submits
            self._parts.reconciler.ask_release()
        else:
            self._finished.set()

    def _all_landed(self) -> bool:
        """Whether nothing is in flight any more that this process will still move."""
        if self.stop is not None and self.stop.manner >= Manner.DOWNLOADS:
            return self._given.tally.downloading == 0 and self._given.tally.submitting == 0
        return len(self._parts.in_flight) == 0
