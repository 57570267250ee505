"""When a batch will be done, and how sure that is: from how many jobs came to rest in how much time.

Arrivals that are counted have a standard error of the square root of their number, so a rate that rests on ``n``
jobs is good to one part in the root of ``n``. Pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

FINISHED_MIN = 3
"""Fewer jobs than so many say nothing yet."""
CONFIDENCE = 2.0
"""Standard errors on either side: nineteen times in twenty."""
RATE_SHARE_MIN = 0.1


class Eta(NamedTuple):
    """Seconds until the last job is at rest: the likely figure, and how far it may be off on either side."""

    likely_s: float
    spread_s: float


def eta(*, left: int, finished: int, window_s: float) -> Eta | None:
    """Return when ``left`` jobs will be at rest if it goes on as in a window with ``finished``; None if unknown."""
    if left == 0:
        return Eta(0.0, 0.0)
    if finished < FINISHED_MIN or window_s <= 0:
        return None
    rate = finished / window_s
    doubt = CONFIDENCE / math.sqrt(finished)
    slow, fast = left / (rate * max(RATE_SHARE_MIN, 1 - doubt)), left / (rate * (1 + doubt))
    return Eta(left / rate, (slow - fast) / 2)
