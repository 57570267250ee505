"""The cheapest moments to ask about a request, for a known distribution of durations and a price of asking.

Asking costs ``price_s``, as many seconds of lag as one poll is worth; a completion costs the seconds until the
next poll. The best plan from every age is found by dynamic programming over the edges of a grid. The cost of
going from age t to age s is linear in s for a given F(t), so that all plans together are the lower envelope of
lines that are asked in order: one pass over the grid instead of one over all pairs. Pure arithmetic.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.scheduling.distribution import Distribution

GAP_SHARE_MIN = 0.005
"""Two polls are never closer than this share of the age: below it, the network's own delays decide."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to ask next, from every age of the last question.

    Attributes:
        price_s: the price it was made for.
        ages_s: the ages of the grid.
        next_s: the best age of the next poll of a request still running at each of them.
        polls: the mean number of polls per request from age 0.
        lag_s: the mean time between a completion and the poll that finds it.
    """

    price_s: float
    ages_s: Sequence[float]
    next_s: Sequence[float]
    polls: float
    lag_s: float
    tail_hazard: float

    def next_age_s(self, age_s: float) -> float:
        """Return the age of the next poll of a request still running at ``age_s``."""
        if age_s >= self.ages_s[-1]:
            return age_s + _tail_gap_s(age_s, self.price_s, self.tail_hazard)
        place = max(0, bisect_right(self.ages_s, age_s) - 1)
        return max(self.next_s[place], age_s * (1 + GAP_SHARE_MIN))


class _Envelope:
    """The lower envelope of lines that come with rising slopes and are asked at falling places.

    A line stands for the next poll at one age: its slope is minus the age, it is asked at F(t).
    """

    def __init__(self) -> None:
        self._ages_s: list[float] = []
        self._heights: list[float] = []
        self._places: list[int] = []
        self._front = 0

    def best(self, share: float) -> tuple[float, int]:
        """Return the least value at ``share``, and whose line it is."""
        ages_s, heights = self._ages_s, self._heights
        value = heights[self._front] - share * ages_s[self._front]
        while self._front + 1 < len(ages_s):
            following = heights[self._front + 1] - share * ages_s[self._front + 1]
            if following > value:
                break
            self._front, value = self._front + 1, following
        return value, self._places[self._front]

    def add(self, age_s: float, height: float, place: int) -> None:
        """Add a line, and drop those that are nowhere the lowest any more."""
        ages_s, heights = self._ages_s, self._heights
        while len(ages_s) > self._front + 1 and _is_useless(
            ages_s[-2] - ages_s[-1], heights[-1] - heights[-2], ages_s[-1] - age_s, height - heights[-1]
        ):
            ages_s.pop()
            heights.pop()
            self._places.pop()
        ages_s.append(age_s)
        heights.append(height)
        self._places.append(place)


def _is_useless(older_s: float, older_rise: float, younger_s: float, younger_rise: float) -> bool:
    """Whether a line between two others lies above the point where those meet."""
    return older_rise * younger_s >= younger_rise * older_s


def best_schedule(found: Distribution, price_s: float) -> Schedule:
    """Return the schedule with the least mean of ``price_s`` * polls + lag.

    With W(t) = P(running at t) * (expected cost from t), F the distribution function and A its integral,
    W(t) = min over s > t of  price * (1 - F(t)) + A(s) - A(t) - F(t) (s - t) + W(s).
    """
    ages_s, done = found.ages_s, found.done
    integral = found.integral()
    last = len(ages_s) - 1
    after = [last] * (last + 1)
    tail_gap_s = _tail_gap_s(ages_s[last], price_s, found.tail_hazard)
    lines = _Envelope()
    lines.add(ages_s[last], integral[last] + (1 - done[last]) * 2 * tail_gap_s, last)
    for place in range(last - 1, -1, -1):
        share = done[place]
        value, after[place] = lines.best(share)
        cost = price_s * (1 - share) - integral[place] + share * ages_s[place] + value
        lines.add(ages_s[place], integral[place] + cost, place)
    polls, lag_s = _expectation(found, integral, after, tail_gap_s)
    next_s = [ages_s[place] for place in after[:-1]] + [ages_s[last] + tail_gap_s]
    return Schedule(price_s, ages_s, next_s, polls, lag_s, found.tail_hazard)


def _expectation(
    found: Distribution, integral: Sequence[float], after: Sequence[int], tail_gap_s: float
) -> tuple[float, float]:
    """Return the mean number of polls and the mean lag of a request that is asked as ``after`` says."""
    polls = lag_s = 0.0
    place, last = 0, len(after) - 1
    while place < last:
        then = after[place]
        polls += 1 - found.done[place]
        lag_s += integral[then] - integral[place] - found.done[place] * (found.ages_s[then] - found.ages_s[place])
        place = then
    left = 1 - found.done[last]
    gaps = found.ages_s[last] / (found.tail_hazard * tail_gap_s)
    return polls + left * (gaps + 0.5), lag_s + left * tail_gap_s / 2


def _tail_gap_s(age_s: float, price_s: float, tail_hazard: float) -> float:
    """Return the gap that balances price and lag at a constant hazard h: sqrt(2 * price / h)."""
    return max(GAP_SHARE_MIN * age_s, min(math.sqrt(2 * price_s * age_s / tail_hazard), age_s))
