"""When to ask about a request again, and how likely it is then to be finished.

Ages are seconds since the provider accepted the request. ``LearnedPolling`` joins what is known of the model's
durations with the price of a poll: the dearer a poll is, the later and the fewer. It is told what was seen
and is asked for ages.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from engine.scheduling.schedule import best_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.scheduling.durations import Durations
    from engine.scheduling.schedule import Schedule

PRICE_SHARE_MIN = 0.002
"""No poll is cheaper than this share of the mean duration: a mean lag under two per cent buys nobody anything."""
PRICE_SHARE_MAX = 0.5
PRICE_STEP = 1.03
CHANGES_SHARE = 0.03
"""The schedule is made anew when so large a share of what it rests on has changed."""
FRESH_S = 0.5
"""A schedule is kept for so long at least: making it costs milliseconds, and thousands of jobs may end in a second."""
SCOUT_AGE_S_MIN = 1.0
SCOUTS_PER_AGE = 2
SCOUT_SHARE = 0.5
"""Scouts are sent before this share of the typical duration; later the schedule itself looks."""


class PollingPolicy(Protocol):
    """Places polls."""

    @property
    def typical_s(self) -> float | None:
        """The typical duration as it is believed now; None if the policy does not know."""
        ...

    def idle_age_s(self, age_s: float) -> float:
        """Return the age from which a poll is worth a turn that nobody else wants; greater than ``age_s``.

        Ask once for each time that a poll is placed: an age may be given to a few requests only.
        """
        ...

    def due_age_s(self, age_s: float) -> float:
        """Return the age from which a poll is worth its price, for a request still running at ``age_s``."""
        ...

    def chance(self, age_s: float, *, since_s: float) -> float:
        """Return the probability that a request that was running at ``since_s`` is finished by ``age_s``."""
        ...

    def age_at(self, chance: float, *, since_s: float) -> float:
        """Return the age at which that probability reaches ``chance``; infinite if it never does."""
        ...

    def still_running(self, since_s: float, age_s: float) -> None:
        """Take note of a request that was running at ``since_s`` and still is at ``age_s``."""
        ...

    def finished(self, since_s: float, age_s: float, *, claimed_s: float | None) -> None:
        """Take note of one that was running at ``since_s`` and had finished by ``age_s``, after ``claimed_s``."""
        ...


class FixedPolling:
    """Ask every ``interval_s`` seconds."""

    def __init__(self, interval_s: float, *, typical_s: float | None = None) -> None:
        self._interval_s = interval_s
        self._typical_s = typical_s

    @property
    def typical_s(self) -> float | None:
        """What it was told; see ``PollingPolicy``."""
        return self._typical_s

    def idle_age_s(self, age_s: float) -> float:
        """Return the age one interval on; see ``PollingPolicy``."""
        return age_s + self._interval_s

    def due_age_s(self, age_s: float) -> float:
        """Return the age one interval on; see ``PollingPolicy``."""
        return age_s + self._interval_s

    def chance(self, age_s: float, *, since_s: float) -> float:
        """Know only that time helps; see ``PollingPolicy``."""
        return 0.5 if age_s > since_s else 0.0

    def age_at(self, chance: float, *, since_s: float) -> float:
        """Return infinity beyond even odds; see ``PollingPolicy``."""
        return since_s if chance <= 0.5 else float("inf")  # noqa: PLR2004 (even odds, as in ``chance``)

    def still_running(self, since_s: float, age_s: float) -> None:
        """Learn nothing."""

    def finished(self, since_s: float, age_s: float, *, claimed_s: float | None) -> None:
        """Learn nothing."""


class LearnedPolling:
    """Ask when what the model's jobs have shown says that it pays.

    Args:
        durations: what is known of them; shared with nobody.
        now: tells the time, in monotonic seconds.
    """

    def __init__(self, durations: Durations, now: Callable[[], float]) -> None:
        self.durations = durations
        self._now = now
        self._stale_at = -math.inf
        self._price_s = 0.0
        self._scouts: dict[int, int] = {}
        self._make_schedules()

    @property
    def typical_s(self) -> float:
        """The median of the estimate; see ``PollingPolicy``."""
        self._keep_fresh()
        return self.durations.distribution.age_at(0.5)

    @property
    def schedule(self) -> Schedule:
        """The schedule for the present price and what is known now."""
        self._keep_fresh()
        return self._schedule

    def charge(self, price_s: float) -> None:
        """Set the price of a poll, in seconds of lag; it is kept within sensible shares of the mean duration."""
        self._price_s = price_s
        wanted_s, now_s = self._bounded(price_s), self.schedule.price_s
        if not now_s / PRICE_STEP <= wanted_s <= now_s * PRICE_STEP:
            self._schedule = best_schedule(self.durations.distribution, wanted_s)

    def idle_age_s(self, age_s: float) -> float:
        """Return the next age of the best schedule for the least price, or a scout's; see ``PollingPolicy``."""
        self._keep_fresh()
        return min(self._idle_schedule.next_age_s(age_s), self._scout_age_s(age_s))

    def due_age_s(self, age_s: float) -> float:
        """Return the next age of the best schedule for the present price; see ``PollingPolicy``."""
        return self.schedule.next_age_s(age_s)

    def chance(self, age_s: float, *, since_s: float) -> float:
        """Return the conditional probability of the estimate; see ``PollingPolicy``."""
        before = self.durations.distribution.share_done(since_s)
        return max(0.0, 1 - (1 - self.durations.distribution.share_done(age_s)) / (1 - before))

    def age_at(self, chance: float, *, since_s: float) -> float:
        """Return the conditional quantile of the estimate; see ``PollingPolicy``."""
        before = self.durations.distribution.share_done(since_s)
        return self.durations.distribution.age_at(before + chance * (1 - before))

    def still_running(self, since_s: float, age_s: float) -> None:
        """Learn that it takes longer than ``age_s``; see ``PollingPolicy``."""
        self.durations.still_running(since_s, age_s)

    def finished(self, since_s: float, age_s: float, *, claimed_s: float | None) -> None:
        """Learn between which ages it ended; see ``PollingPolicy``."""
        self.durations.finished(since_s, age_s, claimed_s=claimed_s)

    def _scout_age_s(self, age_s: float) -> float:
        """Return the age at which this request is to see whether the expectation is far too long; infinite if not.

        Until the first request was found finished, all that is known is what somebody expected. A few requests are
        asked about at 1, 2, 4, ... seconds, so that jobs of seconds are not left lying for minutes.
        """
        octave = max(0, math.floor(math.log2(max(age_s, SCOUT_AGE_S_MIN) / SCOUT_AGE_S_MIN)) + (age_s > 0))
        scout_age_s = SCOUT_AGE_S_MIN * 2.0**octave
        if self.durations.finished_jobs or scout_age_s >= SCOUT_SHARE * self.typical_s:
            return math.inf
        if self._scouts.get(octave, 0) == SCOUTS_PER_AGE:
            return math.inf
        self._scouts[octave] = self._scouts.get(octave, 0) + 1
        return scout_age_s

    def _keep_fresh(self) -> None:
        if self.durations.changes > max(1.0, CHANGES_SHARE * self.durations.jobs) and self._now() >= self._stale_at:
            self._stale_at = self._now() + FRESH_S
            self.durations.refresh()
            self._make_schedules()

    def _make_schedules(self) -> None:
        self.mean_s = self.durations.distribution.mean_s
        self._schedule = best_schedule(self.durations.distribution, self._bounded(self._price_s))
        self._idle_schedule = best_schedule(self.durations.distribution, self._bounded(0.0))

    def _bounded(self, price_s: float) -> float:
        return min(max(price_s, PRICE_SHARE_MIN * self.mean_s), PRICE_SHARE_MAX * self.mean_s)
