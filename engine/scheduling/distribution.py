"""How long requests take, as a distribution: what is known at some ages, straight lines between, a power law behind.

Pure arithmetic; knows neither how it was learned nor what is decided by it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Distribution:
    """How long requests take.

    Attributes:
        ages_s: rising ages in seconds.
        done: the share of requests finished by each of them; rises from 0, and stays below 1.
        tail_hazard: behind the last age, the rate of finishing per unit of log-age: S(a) falls as a**-tail_hazard.
    """

    ages_s: Sequence[float]
    done: Sequence[float]
    tail_hazard: float

    @property
    def mean_s(self) -> float:
        """The mean duration, in seconds; what is behind the last age counts as that age."""
        return self.ages_s[-1] - self.integral()[-1]

    def integral(self) -> list[float]:
        """Return, for each of the ages, the integral of the share done from age 0 up to it, in seconds."""
        total_s, integral = 0.0, [0.0]
        for (younger_s, older_s), (fewer, more) in zip(pairwise(self.ages_s), pairwise(self.done), strict=True):
            total_s += (older_s - younger_s) * (fewer + more) / 2
            integral.append(total_s)
        return integral

    def share_done(self, age_s: float) -> float:
        """Return the share of requests that take no longer than ``age_s``."""
        ages_s, done = self.ages_s, self.done
        if age_s <= ages_s[0]:
            return 0.0
        if age_s >= ages_s[-1]:
            return 1 - (1 - done[-1]) * math.pow(ages_s[-1] / age_s, self.tail_hazard)
        above = bisect_right(ages_s, age_s)
        part = (age_s - ages_s[above - 1]) / (ages_s[above] - ages_s[above - 1])
        return done[above - 1] + part * (done[above] - done[above - 1])

    def age_at(self, share: float) -> float:
        """Return the age by which ``share`` of the requests are done; the inverse of ``share_done``."""
        done = self.done
        if share >= done[-1]:
            left = max(1 - share, 1e-12) / (1 - done[-1])
            return self.ages_s[-1] * math.pow(left, -1 / self.tail_hazard)
        above = max(1, bisect_right(done, share))
        rise = done[above] - done[above - 1]
        part = (share - done[above - 1]) / rise if rise > 0 else 1.0
        return self.ages_s[above - 1] + max(part, 0.0) * (self.ages_s[above] - self.ages_s[above - 1])
