"""Decide when each request that is generating is asked about, and learn from what the answers tell.

A poll is planned for the moment that the model's policy says, and placed anew once its requests prove much quicker.
Knows nothing of the lane, nor of what follows from an answer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from engine.ledger.cancel_book import CANCELLED
from engine.scheduling.in_flight import NEGLECTED_REQUEST_SHARE
from engine.scheduling.steps import AtRest, Fetched, Finished, StillWorking

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.scheduling.agenda import Agenda
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.polling import PollingPolicy
    from engine.scheduling.steps import PollStep

POSSIBLE_CHANCE = 0.02
PLAN_AGAIN_FACTOR = 1.5
"""Polls are placed anew when requests turn out to take so many times less than was believed."""


class PollPlanner:
    """Plans polls.

    Args:
        polling_for: the polling policy of a model.
        record_life_s: how long the provider keeps a request's record, from its submission.
        offer: called with a request at the moment from which it may be asked about, and the one at which it should be.
        on_finished: called whenever a request was found finished.
    """

    def __init__(
        self,
        in_flight: InFlight,
        *,
        agenda: Agenda,
        clock: Clock,
        polling_for: Callable[[str], PollingPolicy],
        record_life_s: float,
        offer: Callable[[Flight, float], None],
        on_finished: Callable[[], None],
    ) -> None:
        self._in_flight = in_flight
        self._agenda = agenda
        self._clock = clock
        self._polling_for = polling_for
        self._record_life_s = record_life_s
        self._offer = offer
        self._on_finished = on_finished
        self._planned_for_s: dict[str, float] = {}

    def plan(self, flight: Flight) -> None:
        """Have a request asked about when that is worth it."""
        age_s, seen_s, policy = self._age_s(flight), flight.seen_running_s, self._polling_for(flight.model)
        # Past half the life of its record, a request that is not asked about in time counts as neglected.
        age_s_max = max(self._record_life_s / 2, age_s + self._record_life_s * NEGLECTED_REQUEST_SHARE / 2)
        idle_age_s, due_age_s = policy.idle_age_s(seen_s), policy.due_age_s(seen_s)
        due_at = flight.submitted_at + min(due_age_s, age_s_max)
        flight.poll_at = min(flight.submitted_at + idle_age_s, due_at)
        self._agenda.at(flight.poll_at, partial(self._offer_planned, flight, flight.poll_at, due_at))

    def may_be_done(self, flight: Flight) -> bool:
        """Whether a request that nobody asked about yet may be finished."""
        return self._polling_for(flight.model).chance(self._age_s(flight), since_s=0.0) >= POSSIBLE_CHANCE

    def learn(self, flight: Flight, since_s: float, step: PollStep) -> None:
        """Show the model's policy what an answer told; a failure ends a request like a success.

        Args:
            since_s: the age at which the request was last seen running before.
        """
        policy = self._polling_for(flight.model)
        match step:
            case StillWorking():
                policy.still_running(since_s, flight.seen_running_s)
            case Finished(claimed_s) | Fetched(end=Finished(claimed_s)):
                policy.finished(since_s, self._age_s(flight), claimed_s=claimed_s)
                self._on_finished()
            case AtRest() if flight.error is None or flight.error.kind != CANCELLED:
                policy.finished(since_s, self._age_s(flight), claimed_s=None)
                self._on_finished()
            case _:
                return
        self._plan_again_if_quicker(flight.model, policy.typical_s)

    @property
    def left_s(self) -> float | None:
        """How long what is generating may still take, in seconds; None if nobody knows."""
        left = [
            typical_s - self._age_s(flight)
            for flight in self._in_flight.unresolved
            if (typical_s := self._polling_for(flight.model).typical_s) is not None
        ]
        return max(0.0, *left) if left else None

    def _age_s(self, flight: Flight) -> float:
        return self._clock.now() - flight.submitted_at

    def _offer_planned(self, flight: Flight, planned_at: float, due_at: float) -> None:
        if flight.poll_at == planned_at:  # else it was planned anew since
            flight.poll_at = 0.0
            self._offer(flight, due_at)

    def _plan_again_if_quicker(self, model: str, typical_s: float | None) -> None:
        """Place the waiting polls of a model anew once its requests prove much quicker than these polls assume.

        The other way needs no care: a poll that comes too early finds its request running and plans the next.
        """
        if typical_s is None:
            return
        planned_for_s = self._planned_for_s.setdefault(model, typical_s)
        self._planned_for_s[model] = max(planned_for_s, typical_s)
        if typical_s * PLAN_AGAIN_FACTOR < planned_for_s:
            self._planned_for_s[model] = typical_s
            for flight in self._in_flight.unresolved:
                if flight.model == model and flight.poll_at > self._clock.now():
                    self.plan(flight)
