"""How long to wait before something is tried again: exponential, with full jitter.

Full jitter (a uniform draw from zero to the exponential bound) spreads simultaneous retries best; see
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_DOUBLINGS_MAX = 30


def backoff_s(failures: int, *, first_s: float, max_s: float, rng: random.Random) -> float:
    """Return the seconds to wait after ``failures`` failures in a row (at least 1)."""
    bound = min(max_s, first_s * 2 ** min(failures - 1, _DOUBLINGS_MAX))
    return rng.uniform(0.0, bound)
