"""Rates and estimates from a tally that is looked at now and then.

The rate is that of the last minutes of this process, so that what an earlier process did before a resume
does not flatter it; without enough to go by there is no estimate.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.scheduling.tally import Tally

WINDOW_S = 600.0
FINISHED_FOR_ESTIMATE_MIN = 3


class Figures:
    """Derives speeds from a tally.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, tally: Tally, now: Callable[[], float] = time.monotonic) -> None:  # noqa: TID251 (for display only)
        self.tally = tally
        self._now = now
        self._began_at = now()
        self._samples: deque[tuple[float, int]] = deque([(self._began_at, tally.succeeded + tally.failed)])

    def note(self) -> None:
        """Take a sample of the tally."""
        now = self._now()
        self._samples.append((now, self.tally.succeeded + self.tally.failed))
        while now - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    @property
    def elapsed_s(self) -> float:
        """How long this process has worked."""
        return self._now() - self._began_at

    @property
    def finished_per_minute(self) -> float:
        """Jobs that came to rest a minute, over the last ten minutes of this process."""
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        return 60 * (last - first) / (last_at - first_at) if last_at > first_at else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last job is expected at rest; None while there is too little to go by."""
        finished = self._samples[-1][1] - self._samples[0][1]
        if finished < FINISHED_FOR_ESTIMATE_MIN:
            return None
        left = self.tally.pending + self.tally.in_flight
        return 60 * left / self.finished_per_minute
