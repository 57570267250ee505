"""Submit a job when its turn has come, and decide what follows from the answer.

The provider has it, certainly does not have it, or may have it: only the second is ever submitted again from
here. Knows nothing of how jobs are chosen, nor of what happens to a request once it is accepted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_never

from engine.errors import ExitCode
from engine.scheduling.steps import (
    AtRest,
    Fetched,
    OutOfCredit,
    SetAside,
    SlowDown,
    StopRun,
    SubmitAgain,
    Submitted,
    Unreachable,
)
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.scheduling.agenda import Agenda
    from engine.scheduling.credit import Credit
    from engine.scheduling.guard import Guard
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.landing import Landing
    from engine.scheduling.lane import Lane
    from engine.scheduling.life import Life
    from engine.scheduling.pace import Permit
    from engine.scheduling.setbacks import Setbacks
    from engine.scheduling.spend import Spend
    from engine.scheduling.steps import SubmitStep
    from engine.scheduling.tally import Tally

FORBIDDEN_IN_A_ROW_MAX = 5


class Launcher:
    """Submits jobs, one at each call.

    Args:
        on_accepted: called with a flight that the provider has.
        on_answered: called with a flight whose submission was answered with its result.
        take_back: called with a job that waits again, at the moment from which it may be submitted.
        on_stop: called with a reason to stop the run.
        on_change: called after every submission: there may be room for another, or nothing left to do.
    """

    def __init__(
        self,
        life: Life,
        guard: Guard,
        lane: Lane,
        in_flight: InFlight,
        landing: Landing,
        *,
        agenda: Agenda,
        clock: Clock,
        credit: Credit,
        spend: Spend,
        tally: Tally,
        log: FilteringBoundLogger,
        setbacks: Setbacks,
        on_accepted: Callable[[Flight], None],
        on_answered: Callable[[Flight, Fetched], None],
        take_back: Callable[[Flight], None],
        on_stop: Callable[[Stop], None],
        on_change: Callable[[], None],
    ) -> None:
        self._life = life
        self._guard = guard
        self._lane = lane
        self._in_flight = in_flight
        self._landing = landing
        self._agenda = agenda
        self._clock = clock
        self._credit = credit
        self._spend = spend
        self._tally = tally
        self._log = log
        self._setbacks = setbacks
        self._on_accepted = on_accepted
        self._on_answered = on_answered
        self._take_back = take_back
        self._on_stop = on_stop
        self._on_change = on_change
        self._forbidden_in_a_row = 0

    async def submit(self, flight: Flight, permit: Permit) -> None:
        """Submit one job."""
        self._in_flight.board(flight)
        self._spend.submit(flight.job)
        self._tally.pending -= 1
        self._tally.submitting += 1
        self._tally.submits += 1
        step = await self._guard.make(flight, self._life.submit(flight))
        self._tally.submitting -= 1
        self._follow(flight, permit, step)
        self._on_change()

    def _follow(self, flight: Flight, permit: Permit, step: SubmitStep) -> None:
        match step:
            case Submitted():
                self._lane.accepted(permit)
                self._credit.accepted()
                self._forbidden_in_a_row = 0
                self._log.info("submitted", id=flight.id, request_id=flight.request_id, attempt=flight.attempts)
                self._on_accepted(flight)
            case Fetched():
                self._lane.accepted(permit)
                self._credit.accepted()
                self._forbidden_in_a_row = 0
                self._log.info("submitted", id=flight.id, request_id=flight.request_id, attempt=flight.attempts)
                self._on_answered(flight, step)
            case AtRest():
                self._lane.accepted(permit)
                self._count_forbidden(flight)
                self._landing.rest(flight, step)
            case SetAside():
                # A provider that loses replies would turn one job after the other into an unknown.
                self._lane.unreachable(flight.error.message if flight.error else "")
                self._landing.set_aside(flight)
            case SubmitAgain(delay_s):
                self._lane.accepted(permit)
                self._return(flight, delay_s)
            case SlowDown(wait_s):
                self._setbacks.throttled(self._lane, permit, wait_s)
                self._return(flight, 0.0)
            case Unreachable(reason):
                self._setbacks.unreachable(self._lane, reason)
                self._return(flight, 0.0)
            case OutOfCredit(message):
                self._log.warning("out_of_credit", reason=message)
                self._credit.park(message)
                self._return(flight, 0.0)
            case StopRun(stop):
                self._return(flight, 0.0)
                self._on_stop(stop)
            case _:
                assert_never(step)

    def _return(self, flight: Flight, delay_s: float) -> None:
        """Put a job that the provider certainly does not have back among those that wait, for after ``delay_s``."""
        self._in_flight.leave(flight)
        self._spend.give_back(flight.job, accepted=False)
        self._tally.pending += 1
        self._agenda.at(self._clock.now() + delay_s, partial(self._take_back, flight))

    def _count_forbidden(self, flight: Flight) -> None:
        """A model refused to several jobs in a row is refused to all of them."""
        if flight.error is None or flight.error.kind != "forbidden":
            self._forbidden_in_a_row = 0
            return
        self._forbidden_in_a_row += 1
        if self._forbidden_in_a_row >= FORBIDDEN_IN_A_ROW_MAX:
            message = f"the account may not use this model: {flight.error.message}"
            hint = "check the account's rights and provider.model; then run the same command again"
            self._on_stop(Stop("forbidden", message, ExitCode.ACCOUNT, Manner.HARVEST, hint))
