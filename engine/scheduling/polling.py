"""When to ask about a request again, and how likely it is then to be finished.

Ages are seconds since the provider accepted the request. ``LearnedPolling`` keeps the durations of recent
jobs and places each poll where a fixed share of the jobs still running will have finished since the last
one: few polls while nothing can be done, close ones around the typical duration, sparse ones in the tail.
Pure: it is told what was observed and is asked for ages.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import NormalDist
from typing import Protocol

_NORMAL = NormalDist()


class PollingPolicy(Protocol):
    """Places polls."""

    @property
    def typical_s(self) -> float | None:
        """The typical duration as it is believed now; None if the policy does not know."""
        ...

    def next_age_s(self, age_s: float) -> float:
        """Return the age of the next poll of a request still running at ``age_s``; greater than ``age_s``."""
        ...

    def share_done(self, age_s: float) -> float:
        """Return the share of requests that are expected to have finished by ``age_s``."""
        ...

    def observe(self, duration_s: float) -> None:
        """Take note of how long a request took from acceptance to completion."""
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

    def next_age_s(self, age_s: float) -> float:
        """Return the next multiple of the interval; see ``PollingPolicy``."""
        return age_s + self._interval_s

    def share_done(self, age_s: float) -> float:
        """Know nothing: every poll is worth the same."""
        return 0.0 if age_s <= 0 else 0.5

    def observe(self, duration_s: float) -> None:
        """Ignore it."""


class LearnedPolling:
    """Fit a log-normal distribution to recent durations and poll at equal steps of what it leaves.

    Args:
        expected_s: the duration to begin with.
        spread: standard deviation of its logarithm before anything was observed.
        share_per_poll: the share of the requests still running that each poll should find finished.
    """

    WINDOW_JOBS = 300
    PRIOR_WEIGHT_JOBS = 4
    SPREAD_MIN = 0.02
    TAIL_SHARE = 0.995
    TAIL_GROWTH = 0.15
    GAP_SHARE_MIN = 0.01
    GAP_S_MIN = 0.05
    OUTLIER_FACTOR = 30.0

    def __init__(self, *, expected_s: float, spread: float = 0.35, share_per_poll: float = 0.35) -> None:
        self._prior_mean = math.log(expected_s)
        self._prior_variance = spread**2
        self._share_per_poll = share_per_poll
        self._logs: deque[float] = deque(maxlen=self.WINDOW_JOBS)
        self._sum = 0.0
        self._sum_squares = 0.0
        self._mean = self._prior_mean
        self._spread = spread

    @property
    def typical_s(self) -> float:
        """The median of the fitted distribution; see ``PollingPolicy``."""
        return math.exp(self._mean)

    def next_age_s(self, age_s: float) -> float:
        """Return the age by which the wanted share of what is left will have finished; see ``PollingPolicy``."""
        done = self.share_done(age_s)
        gap_min_s = max(self.GAP_S_MIN, self.GAP_SHARE_MIN * self.typical_s)
        if done >= self.TAIL_SHARE:
            return age_s + max(gap_min_s, self.TAIL_GROWTH * age_s)
        wanted = done + self._share_per_poll * (1 - done)
        return max(age_s + gap_min_s, math.exp(self._mean + self._spread * _NORMAL.inv_cdf(wanted)))

    def share_done(self, age_s: float) -> float:
        """Return the distribution function at ``age_s``; see ``PollingPolicy``."""
        return _NORMAL.cdf((math.log(age_s) - self._mean) / self._spread) if age_s > 0 else 0.0

    def observe(self, duration_s: float) -> None:
        """Fold a duration into the window and forget the oldest; see ``PollingPolicy``.

        A figure in another unit, or an absurd one, counts as an outlier and no more: believed, it would put
        the next poll of everybody behind the end of their records.
        """
        if not duration_s > 0:
            return
        if len(self._logs) == self.WINDOW_JOBS:
            self._add(self._logs[0], -1)
        reach = math.log(self.OUTLIER_FACTOR)
        self._logs.append(min(max(math.log(duration_s), self._mean - reach), self._mean + reach))
        self._add(self._logs[-1], +1)
        self._fit()

    def _add(self, log_s: float, sign: int) -> None:
        self._sum += sign * log_s
        self._sum_squares += sign * log_s * log_s

    def _fit(self) -> None:
        """Combine the window with the prior, which counts as a few jobs and stands between its mean and ours."""
        count, prior = len(self._logs), self.PRIOR_WEIGHT_JOBS
        own_mean = self._sum / count
        own_squares = max(0.0, self._sum_squares - count * own_mean**2)
        weight = count + prior
        self._mean = (self._sum + prior * self._prior_mean) / weight
        between = count * prior / weight * (own_mean - self._prior_mean) ** 2 / weight
        self._spread = max(
            self.SPREAD_MIN, math.sqrt((own_squares + prior * self._prior_variance) / weight + between / weight)
        )
