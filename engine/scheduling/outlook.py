"""What a run waits for, in one sentence: what holds submissions up, and what the provider has in its hands.

Looks at the moving parts; changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.clock import local_words
from engine.job.counted import agreeing, counted

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.scheduling.feeder import Feeder
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.lane import Lane, Lanes
    from engine.scheduling.reconciler import Reconciler
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally

TURN_S_MIN = 0.5
"""A turn that comes sooner is not worth a word."""


class Outlook:
    """Looks at one run."""

    def __init__(
        self, lanes: Lanes, feeder: Feeder, in_flight: InFlight, reconciler: Reconciler, *, tally: Tally, clock: Clock
    ) -> None:
        self._lanes = lanes
        self._feeder = feeder
        self._in_flight = in_flight
        self._reconciler = reconciler
        self._tally = tally
        self._clock = clock

    def sentence(self, stop: Stop | None) -> str:
        """Return the sentence; empty while nothing is in flight and nothing holds the run up."""
        if stop is not None:
            return f"{stop.message}; {self._in_hand() or 'nothing'} to be harvested"
        return "; ".join(words for words in (self._held_up(), self._in_hand(), self._next_turn()) if words)

    @property
    def is_held_up(self) -> bool:
        """Whether something keeps submissions from going out, besides the pace and the places in flight."""
        return bool(self._held_up())

    def _held_up(self) -> str:
        for lane in (self._lanes.submits, self._lanes.reads):
            if lane.open_in_s > 0 and (lane.outage or lane.is_throttled):
                return self._closed(lane)
        if self._feeder.reason:
            return f"submits pause: {self._feeder.reason}"
        if not self._in_flight and len(self._reconciler):
            return self._looked_up(len(self._reconciler))
        return ""

    def _looked_up(self, unknown: int) -> str:
        """Say that nothing but unknown outcomes is left, when they are looked at next, and until when at most."""
        outcomes = f"{counted(unknown, 'unknown outcome')} {agreeing(unknown, 'is', 'are')}"
        words = f"{outcomes} looked up in the provider's history"
        looks = self._reconciler.looks_in_s
        if looks is None:
            return words
        next_look, last_look = (local_words(self._clock.utc() + in_s, seconds=True) for in_s in looks)
        return f"{words}, next at {next_look}" + (f" and until {last_look}" if last_look != next_look else "")

    def _closed(self, lane: Lane) -> str:
        until = local_words(self._clock.utc() + lane.open_in_s, seconds=True)
        if lane.outage:
            return f"{lane.outage}; the next {lane.name} request tries again at {until}"
        return f"{lane.name} requests are paused by a 429 until {until}"

    def _in_hand(self) -> str:
        if not self._in_flight:
            return ""
        if not self._tally.generating:
            return f"{len(self._in_flight)} in flight"
        queued = f" ({self._tally.queued} queued when last asked)" if self._tally.queued else ""
        age_min = self._in_flight.oldest_age_s / 60
        oldest = f", the oldest for {age_min:.0f} min" if age_min >= 1 else ""
        return f"{self._tally.generating} at the provider{queued}{oldest}"

    def _next_turn(self) -> str:
        turn_s = self._lanes.submits.turn_in_s
        if not self._feeder.offered or self._lanes.submits.open_in_s > 0 or turn_s < TURN_S_MIN:
            return ""
        return f"next submission in {turn_s:.1f} s"
