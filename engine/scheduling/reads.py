"""Polls and fetches that wait for their turn in the lane, ranked by what asking now is worth.

A poll is worth the probability that it finds its request finished, and that grows while it waits: what waits
is ranked anew from time to time. Whatever has used up much of the life of its record goes first, the oldest
before all. Knows nothing of what the answers say.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from engine.scheduling.lane import Urgency

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.scheduling.agenda import Agenda
    from engine.scheduling.lane import Lane, Offer, Start
    from engine.scheduling.polling import PollingPolicy

    Rank: TypeAlias = Callable[[], tuple[Urgency, float]]

LIKELY_CHANCE = 0.9
AGEING_RESULT_SHARE = 1 / 3
AGEING_POLL_SHARE = 1 / 2
"""Shares of the record's life from which a result, and a poll that waits, go before everything else."""
NEGLECTED_POLL_SHARE = 1 / 24
"""Share of the record's life that a poll of such an age may have waited."""
RANK_AGAIN_SHARE = 1 / 120
"""Share of the record's life after which what waits is ranked anew."""
FIRST_LOOK_S = 1.0
"""The first look comes soon: nearly all have had their turn by then, and are forgotten."""


class Reads:
    """The reading requests of one lane.

    Args:
        polling_for: the polling policy of a model.
        record_life_s: how long the provider keeps a request's record, from its submission.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        agenda: Agenda,
        clock: Clock,
        polling_for: Callable[[str], PollingPolicy],
        record_life_s: float,
    ) -> None:
        self.lane = lane
        self._agenda = agenda
        self._clock = clock
        self._polling_for = polling_for
        self._record_life_s = record_life_s
        self._polls: dict[int, tuple[Offer, Rank]] = {}

    def offer_poll(self, flight: Flight, start: Start, *, due_at: float) -> None:
        """Let a request be asked about when its turn comes; before ``due_at`` only if nobody else wants the turn."""
        policy = self._polling_for(flight.model)
        likely_at = flight.submitted_at + policy.age_at(LIKELY_CHANCE, since_s=flight.seen_running_s)
        rank = partial(self._rank_of_poll, flight, due_at)
        self._polls[flight.job] = (self._offer(start, rank, (due_at, likely_at)), rank)

    def asked(self, flight: Flight) -> None:
        """Take note that a request is being asked about: nothing of it waits here any more."""
        self._polls.pop(flight.job, None)

    def hasten(self, flight: Flight) -> None:
        """Rank the question about a request anew, if it waits: it is to be cancelled."""
        if (found := self._polls.get(flight.job)) is not None:
            offer, rank = found
            self.lane.rank(offer, *rank())

    def offer_cancel(self, flight: Flight, start: Start) -> None:  # noqa: ARG002 (its rank is the same for all)
        """Let a request be cancelled at the very next turn: it was seen working a moment ago."""
        self.lane.offer(Urgency.AGEING, start, value=math.inf)

    def offer_fetch(self, flight: Flight, start: Start) -> None:
        """Let a result be fetched when its turn comes."""
        self._offer(start, partial(self._rank_of_fetch, flight), ())

    def _offer(self, start: Start, rank: Rank, turns: tuple[float, ...]) -> Offer:
        urgency, value = rank()
        offer = self.lane.offer(urgency, start, value=value)
        self._look_again(offer, rank, turns, after_s=FIRST_LOOK_S)
        return offer

    def _look_again(self, offer: Offer, rank: Rank, turns: tuple[float, ...], *, after_s: float) -> None:
        """Rank an offer anew after a while, or at the next of the moments at which its class changes."""
        now = self._clock.now()
        again_at = now + min(after_s, self._record_life_s * RANK_AGAIN_SHARE)
        again_at = min((moment for moment in (*turns, again_at) if moment > now), default=again_at)
        self._agenda.at(again_at, partial(self._rank_again, offer, rank, turns))

    def _rank_again(self, offer: Offer, rank: Rank, turns: tuple[float, ...]) -> None:
        if offer.waits:
            self.lane.rank(offer, *rank())
            self._look_again(offer, rank, turns, after_s=self._record_life_s * RANK_AGAIN_SHARE)

    def _rank_of_poll(self, flight: Flight, due_at: float) -> tuple[Urgency, float]:
        now = self._clock.now()
        age_s = now - flight.submitted_at
        neglected = now - due_at >= self._record_life_s * NEGLECTED_POLL_SHARE
        if neglected and age_s >= self._record_life_s * AGEING_POLL_SHARE:
            return Urgency.AGEING, -flight.submitted_at
        if flight.cancel_wanted:  # behind what would be lost if nobody asked, before everything else
            return Urgency.AGEING, -math.inf
        chance = self._polling_for(flight.model).chance(age_s, since_s=flight.seen_running_s)
        if chance >= LIKELY_CHANCE:
            return Urgency.LIKELY_DONE, chance
        return (Urgency.DUE if now >= due_at else Urgency.IDLE), chance

    def _rank_of_fetch(self, flight: Flight) -> tuple[Urgency, float]:
        ageing = self._clock.now() - flight.submitted_at >= self._record_life_s * AGEING_RESULT_SHARE
        return (Urgency.AGEING if ageing else Urgency.FRESH_RESULT), -flight.submitted_at
