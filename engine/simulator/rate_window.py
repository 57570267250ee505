"""Requests per window: who is let through, and when the next one may come.

``RateWindow`` refuses; ``WindowPeak`` only watches and remembers the fullest window ever seen. Both count
arrival times of this server; refused requests take no room. Knows nothing of HTTP.
"""

from __future__ import annotations

import math
from collections import deque


class RateWindow:
    """A limit of requests in any window (sliding) or in each window of a fixed grid."""

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()

    def admit(self, now_s: float, *, limit: int, window_s: float, sliding: bool) -> float | None:
        """Admit a request and return None, or return the seconds until one will be admitted."""
        if not limit:
            return None
        begin_s = now_s - window_s if sliding else math.floor(now_s / window_s) * window_s
        while self._admitted and (self._admitted[0] <= begin_s if sliding else self._admitted[0] < begin_s):
            self._admitted.popleft()
        if len(self._admitted) < limit:
            self._admitted.append(now_s)
            return None
        first_s = self._admitted[len(self._admitted) - limit] if sliding else begin_s
        return max(0.0, first_s + window_s - now_s)


class WindowPeak:
    """The most arrivals ever seen in one window."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque()
        self.peak = 0

    def add(self, now_s: float, window_s: float) -> None:
        """Count an arrival."""
        while self._arrivals and self._arrivals[0] <= now_s - window_s:
            self._arrivals.popleft()
        self._arrivals.append(now_s)
        self.peak = max(self.peak, len(self._arrivals))
