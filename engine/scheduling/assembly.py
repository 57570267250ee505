"""The moving parts of a scheduler, built and told of each other.

Each part knows only what it is given here, so that this file is the one place where it can be read who calls whom.
Decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from engine.scheduling.launcher import Launcher
from engine.scheduling.outlook import Outlook
from engine.scheduling.poll_planner import PollPlanner
from engine.scheduling.poll_price import PollPrice
from engine.scheduling.reads import Reads
from engine.scheduling.reconciler import Findings, Reconciler
from engine.scheduling.setbacks import Setbacks
from engine.scheduling.steps import AtRest
from engine.scheduling.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.job.flight import Flight
    from engine.scheduling.given import Given
    from engine.scheduling.stop import Stop


class MovingParts:
    """The parts of one scheduler.

    Args:
        given: what they work with.
        on_stop: called with a reason to stop.
        on_change: called after every step: there may be room for another, or nothing left to do.
        held_up: words for what the scheduler itself holds submissions up for; empty for nothing.
    """

    def __init__(
        self,
        given: Given,
        *,
        on_stop: Callable[[Stop], None],
        on_change: Callable[[], None],
        held_up: Callable[[], str],
    ) -> None:
        self._given = given
        self._spend = given.rules.spend
        self._on_stop = on_stop
        self._on_change = on_change
        self._held_up = held_up

        self.agenda = Agenda()
        self.in_flight = InFlight(given.clock, record_life_s=given.record_life_s)
        self.guard = Guard(given.life, log=given.log, on_stop=on_stop)
        self.setbacks = Setbacks(given.tally, agenda=self.agenda, clock=given.clock, log=given.log, on_stop=on_stop)
        self.backpressure = self._backpressure()
        self.price = self._poll_price()
        self.reconciler = self._reconciler()
        self.landing = self._landing()
        self.reads = Reads(
            given.lanes.reads,
            agenda=self.agenda,
            clock=given.clock,
            polling_for=given.polling_for,
            record_life_s=given.record_life_s,
        )
        self.downloads = self._downloads()
        self.harvest = self._harvest()
        self.credit = self._credit()
        self.launcher = self._launcher()
        self.feeder = self._feeder()
        self.cancel_orders = self._cancel_orders()
        self.outlook = Outlook(
            given.lanes, self.feeder, self.in_flight, self.reconciler, tally=given.tally, clock=given.clock
        )
        self.timekeeper = self._timekeeper()

    # --- building ---------------------------------------------------------------------------------

    def _backpressure(self) -> Backpressure:
        given = self._given
        backlog = Backlog(
            waiting=lambda: given.tally.downloading, places=given.places, life_s=given.output_life_s, clock=given.clock
        )
        return Backpressure(
            max_in_flight=given.config.limits.max_in_flight,
            reads=given.lanes.reads,
            typical_s=self._slowest_typical_s,
            record_life_s=given.record_life_s,
            backlog=backlog,
            clock=given.clock,
        )

    def _poll_price(self) -> PollPrice:
        return PollPrice(
            submits=self._given.lanes.submits,
            reads=self._given.lanes.reads,
            polling_for=self._given.polling_for,
            under_way=lambda: self.in_flight.by_model,
            places=lambda: self.backpressure.bound,
            waiting=lambda: self._given.tally.pending,
        )

    def _reconciler(self) -> Reconciler:
        given = self._given
        return Reconciler(
            given.ledger,
            given.history,
            policy=given.config.recovery.on_unknown,
            grace_s=given.config.recovery.grace_s,
            attempts_max=given.config.retry.attempts_max,
            clock=given.clock,
            log=given.log,
            findings=Findings(self._adopted, self._submit_once_more, self._given_up, self._on_change),
        )

    def _landing(self) -> Landing:
        return Landing(
            self.in_flight,
            self._given.rules,
            self._given.tally,
            log=self._given.log,
            on_unknown=self.reconciler.add,
            on_down=self._wake_feeder,
            on_decided=self._given.on_decided,
            on_stop=self._on_stop,
        )

    def _downloads(self) -> Downloads:
        return Downloads(
            self._given.life,
            self.guard,
            self.reads,
            self.in_flight,
            self.landing,
            agenda=self.agenda,
            clock=self._given.clock,
            tally=self._given.tally,
            log=self._given.log,
            setbacks=self.setbacks,
            places=self._given.places,
            on_stop=self._on_stop,
            on_stored=self.backpressure.backlog.stored,
            on_change=self._on_change,
        )

    def _harvest(self) -> Harvest:
        return Harvest(
            self._given.life,
            self.guard,
            self.reads,
            self.in_flight,
            self.landing,
            downloads=self.downloads,
            planner=self._poll_planner,
            agenda=self.agenda,
            clock=self._given.clock,
            tally=self._given.tally,
            setbacks=self.setbacks,
            on_not_cancelled=self._not_cancelled,
            on_change=self._on_change,
        )

    def _poll_planner(self, offer: Callable[[Flight, float], None]) -> PollPlanner:
        return PollPlanner(
            self.in_flight,
            agenda=self.agenda,
            clock=self._given.clock,
            polling_for=self._given.polling_for,
            record_life_s=self._given.record_life_s,
            offer=offer,
            on_finished=self.backpressure.finished,
        )

    def _credit(self) -> Credit:
        return Credit(
            ask=self._given.ask_credits,
            clock=self._given.clock,
            price_usd=lambda: self.feeder.next_price_usd,
            may_wait=lambda: self._given.wait_for_credit or len(self.in_flight) > 0,
            on_open=self._wake_feeder,
            on_broke=self._on_stop,
        )

    def _launcher(self) -> Launcher:
        given = self._given
        return Launcher(
            given.life,
            self.guard,
            given.lanes.submits,
            self.in_flight,
            self.landing,
            agenda=self.agenda,
            clock=given.clock,
            credit=self.credit,
            spend=self._spend,
            tally=given.tally,
            log=given.log,
            setbacks=self.setbacks,
            on_accepted=self._accepted,
            on_answered=self.harvest.take_answer,
            take_back=self._take_back,
            on_stop=self._on_stop,
            on_change=self._on_change,
        )

    def _feeder(self) -> Feeder:
        given = self._given
        return Feeder(
            given.ledger,
            given.lanes.submits,
            self.in_flight,
            spend=self._spend,
            canary=given.rules.canary,
            credit=self.credit,
            start=self.launcher.submit,
            comes_first=self._comes_first,
            elsewhere=self._elsewhere,
            backpressure=self.backpressure,
            expect=given.stager.expect,
            provider=given.provider,
            pending=lambda: given.tally.pending,
            others_under_way=given.others_under_way,
        )

    def _cancel_orders(self) -> CancelOrders:
        given = self._given
        return CancelOrders(
            given.ledger,
            given.life.canceller,
            self.in_flight,
            self.landing,
            tally=given.tally,
            log=given.log,
            unknown=self.reconciler.find,
            withdraw=self.feeder.withdraw,
            hasten=self.harvest.hasten,
            announce=given.announce,
            on_change=self._on_change,
            is_ours=given.is_ours,
        )

    def _timekeeper(self) -> Timekeeper:
        given = self._given
        return Timekeeper(
            given.deadline,
            given.target,
            backpressure=self.backpressure,
            submits=given.lanes.submits,
            models=self._models,
            polling_for=given.polling_for,
            clock=given.clock,
            tally=given.tally,
            on_stop=self._on_stop,
            announce=given.announce,
        )

    # --- what the parts ask of each other ---------------------------------------------------------

    def _comes_first(self) -> str:
        """Say what has to be seen to before anything new is submitted; empty if nothing."""
        if self.harvest.to_ask_first:
            return f"{self.harvest.to_ask_first} requests of an earlier process are asked about first"
        if not self.reconciler.first_pass_done:
            return f"{len(self.reconciler)} unknown outcomes of an earlier process are looked up first"
        return self._held_up()

    def _elsewhere(self) -> int:
        """Count lost submissions that may be running at the provider now."""
        return self.reconciler.recent(lambda model: self._given.polling_for(model).typical_s or 0.0)

    def _models(self) -> list[str]:
        """Return the models of what is in flight, or of what comes next."""
        return self._models_in_flight() or self.feeder.next_models

    def _models_in_flight(self) -> list[str]:
        return [model for model, count in self.in_flight.by_model.items() if count > 0]

    def _slowest_typical_s(self) -> float | None:
        known = [self._given.polling_for(model).typical_s for model in self._models_in_flight()]
        return max((typical_s for typical_s in known if typical_s is not None), default=None)

    # --- what the parts tell each other -----------------------------------------------------------

    def _accepted(self, flight: Flight) -> None:
        self.cancel_orders.accepted(flight)
        self.harvest.follow(flight)

    def _take_back(self, flight: Flight) -> None:
        if not self.cancel_orders.takes(flight):
            self.feeder.take_back(flight)

    def _not_cancelled(self, flight: Flight, reason: str) -> None:
        self.cancel_orders.say_not_cancelled(flight, reason)

    def _wake_feeder(self) -> None:
        self.feeder.wake()

    # --- what became of unknown outcomes ----------------------------------------------------------

    def _adopted(self, flight: Flight) -> None:
        self._given.tally.unknown -= 1
        self.cancel_orders.accepted(flight)
        self.harvest.take_up(flight)

    def _submit_once_more(self, flight: Flight, *, proven: bool) -> None:
        self._given.tally.unknown -= 1
        self._given.tally.pending += 1
        if proven:
            self._spend.give_back(flight.job, accepted=False)
        else:
            self._spend.write_off(flight.job)
        self._take_back(flight)

    def _given_up(self, flight: Flight, *, copies: int) -> None:
        self._given.tally.unknown -= 1
        self.landing.rest(flight, AtRest(succeeded=False, copies=copies))
