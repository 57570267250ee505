"""How fast requests may follow each other: halved by a 429, grown by what is accepted.

The pace grows only by requests that were waited for: what nobody used proves nothing. A burst of 429s halves it
once, because each request carries the *epoch* of the pace that it was sent under, and a 429 of an earlier epoch
says nothing about the present one. Where the 429 came is remembered: the pace is soon back just under that
ceiling, then creeps, and is free again once it has passed it. Without that memory a pace that is halved at every
429 uses three quarters of a plan. Below a limit that the plan names, one 429 may be chance and shows no ceiling; the
next one at the same place does. Counts and clocks only; knows nothing of requests.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.clock import Clock

PACE_SHARE_MIN = 1 / 64
GROWTH_PER_REQUEST = 1.0
"""By so many requests a minute does each accepted one raise the pace: a halved pace is back within a minute."""
SEARCH_PER_REQUEST = 3.0
"""The same while an unknown limit is looked for and no 429 has come yet: a twentyfold pace within a minute."""
CREEP_PER_REQUEST = 0.002
"""The same near the ceiling: three per cent of it in a quarter of an hour."""
NEAR_CEILING = 0.97
PAST_CEILING = 1.03
DISPROVED = 0.99
SAME_PLACE = 0.05
"""Two 429s show the same limit if what they show differs by no more than this share."""
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one request.

    Attributes:
        epoch: of the pace under which it was given.
        pressed: whether it had been waited for, so that its acceptance says something about the limit.
    """

    epoch: int = 0
    pressed: bool = True


class Pace:
    """Requests a minute, as they may be sent now.

    Args:
        per_minute: the limit, or where the search for it begins.
        adaptive: whether 429s lower the pace.
        discover: whether the pace may grow above ``per_minute``.
    """

    def __init__(self, per_minute: float, *, adaptive: bool, discover: bool, clock: Clock) -> None:
        self.per_minute = per_minute
        self.per_minute_max = math.inf if discover else per_minute
        self._floor = per_minute * PACE_SHARE_MIN
        self._adaptive = adaptive
        self._clock = clock
        self._epoch = 0
        self._ceiling = math.inf
        self._suspected = math.inf
        self._since = clock.now()
        self._accepted: deque[float] = deque()

    def __repr__(self) -> str:
        ceiling = f", ceiling {self._ceiling:.1f}" if math.isfinite(self._ceiling) else ""
        return f"<Pace: {self.per_minute:.1f}/min{ceiling}>"

    def permit(self, *, pressed: bool) -> Permit:
        """Give leave for one request under the present pace."""
        return Permit(self._epoch, pressed)

    def accepted(self, permit: Permit) -> None:
        """Take note of a request that was answered and not throttled."""
        if not self._adaptive:
            return
        self._accepted.append(self._clock.now())
        self._forget_old()
        if not permit.pressed or permit.epoch != self._epoch:
            return
        if self.per_minute > PAST_CEILING * self._ceiling:
            self._ceiling = math.inf
        self.per_minute = min(self.per_minute_max, self.per_minute + self._growth())

    def throttled(self, permit: Permit) -> None:
        """Take note of a 429; if the present pace was too fast, halve it and remember where that was."""
        if not self._adaptive or permit.epoch != self._epoch:
            return
        self._forget_old()
        self._ceiling = self._found_ceiling()
        self._epoch += 1
        self._since = self._clock.now()
        self.per_minute = max(self.per_minute / 2, self._floor)

    def restore(self, per_minute: float) -> None:
        """Begin with the pace that an earlier process had found; a search goes on where it had come to."""
        if self._adaptive and math.isfinite(per_minute):
            self.per_minute = min(max(per_minute, self._floor), self.per_minute_max)
            if math.isinf(self.per_minute_max):
                self._ceiling = self.per_minute / NEAR_CEILING

    def limit(self, per_minute: float) -> None:
        """Take another limit from now on; a pace that stood at the old one stands at the new one."""
        at_limit = self.per_minute >= self.per_minute_max
        if math.isfinite(self.per_minute_max):
            self.per_minute_max = per_minute
        self._floor = per_minute * PACE_SHARE_MIN
        self.per_minute = per_minute if at_limit else min(self.per_minute, self.per_minute_max)
        self._ceiling = self._suspected = math.inf

    def _found_ceiling(self) -> float:
        """Return the limit that a 429 shows: what the server took within its window, if we were at it for that long.

        A known limit that is kept meets 429s for other reasons too: a ceiling below it takes two of them at the same
        place, and one that comes well below the ceiling says that it is none. An unknown limit is met again and
        again, also from below while the server's window empties.
        """
        known = math.isfinite(self.per_minute_max)
        if not self._searches and self._clock.now() - self._since < WINDOW_S:
            # So soon after the last one, the server's window still holds what was sent at the pace before.
            return self._ceiling if known or math.isfinite(self._ceiling) else self.per_minute
        if known and math.isfinite(self._ceiling) and self.per_minute < DISPROVED * self._ceiling:
            return math.inf
        shown = min(self.per_minute, max(float(len(self._accepted)), self.per_minute / 2))
        suspected, self._suspected = self._suspected, shown
        return shown if not known or abs(shown - suspected) <= SAME_PLACE * shown else math.inf

    @property
    def _searches(self) -> bool:
        return math.isinf(self.per_minute_max) and self._epoch == 0

    def _growth(self) -> float:
        if self.per_minute >= NEAR_CEILING * self._ceiling:
            return CREEP_PER_REQUEST
        if self._searches:
            return SEARCH_PER_REQUEST
        # The last fast step must not leap over the ceiling.
        return max(CREEP_PER_REQUEST, min(GROWTH_PER_REQUEST, NEAR_CEILING * self._ceiling - self.per_minute))

    def _forget_old(self) -> None:
        while self._accepted and self._accepted[0] <= self._clock.now() - WINDOW_S:
            self._accepted.popleft()
