"""How many jobs may be in flight at once: what we can harvest, and what the provider works off, in time.

A record lives for an hour. What is in flight needs two more requests each, so it must drain within half of that
at the pace of reading; and by Little's law what the provider finishes in six tenths of it bounds what waits at the
provider, however long its queue is. Both hold from the first second on, long before the first record is old.
What waits to be downloaded bounds it too, once the line proves too narrow; see ``backlog``.
Decides about numbers; knows nothing of who submits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.scheduling.backlog import Backlog
    from engine.scheduling.lane import Lane

READS_PER_JOB = 2
HARVEST_LIFE_SHARE = 1 / 2
"""Share of the record's life within which everything in flight can be read."""
WORK_OFF_SHARE = 0.6
"""Share of the record's life within which the provider finishes, at its present rate, everything in flight."""
RATE_LIFE_SHARE = 1 / 3
RATE_DURATIONS = 2.0
"""Finished jobs are counted over so large a share of the record's life, or so many durations, whichever is longer."""
RATE_JOBS_MIN, RATE_JOBS_MAX = 20, 20_000
SERVICE_FACTOR = 1.5
"""Jobs that take this much of the time of an idle provider wait for nobody: they are long, not queued."""


class Backpressure:
    """The bound on what is in flight.

    Args:
        max_in_flight: the user's bound.
        reads: the lane that polls and fetches go through.
        typical_s: the typical duration of the slowest model in use, as it is believed now; None if nobody knows.
        record_life_s: how long the provider keeps a request's record, from its submission.
        backlog: the results that wait to be downloaded.

    Attributes:
        max_in_flight: the user's bound; it may be changed while the run works.
        enough: how many are enough to be home in time; None if there is no hurry to know.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        reads: Lane,
        typical_s: Callable[[], float | None],
        record_life_s: float,
        backlog: Backlog,
        clock: Clock,
    ) -> None:
        self.max_in_flight = max_in_flight
        self.backlog = backlog
        self._reads = reads
        self._typical_s = typical_s
        self._record_life_s = record_life_s
        self._clock = clock
        self.enough: int | None = None
        self._first_at: float | None = None
        self._finished: deque[float] = deque(maxlen=RATE_JOBS_MAX)
        self._service_s: float | None = None

    def __repr__(self) -> str:
        return f"<Backpressure: {self.bound}>"

    @property
    def bound(self) -> int:
        """Jobs that may be in flight now."""
        return self.allowed if self.enough is None else max(1, min(self.allowed, self.enough))

    @property
    def allowed(self) -> int:
        """Jobs that might be in flight now if there were need."""
        return max(1, min(self.max_in_flight, self._can_harvest(), self._can_work_off(), self._can_store()))

    def reason(self, in_flight: int) -> str:
        """Say why ``in_flight`` jobs are enough although the user allows more; empty if they are not."""
        if in_flight < self.bound or in_flight >= self.max_in_flight:
            return ""
        if self.enough is not None and self.enough < self.allowed:
            return f"{self.enough} in flight are enough to be home in time"
        if self._can_store() < min(self._can_harvest(), self._can_work_off()):
            return self.backlog.reason
        life_min = self._record_life_s / 60
        if self._can_harvest() <= self._can_work_off():
            return (
                f"{self._can_harvest()} in flight are what {self._reads.per_minute:.0f} requests/min bring home "
                f"before their records expire ({life_min:.0f} min)"
            )
        return f"{self._can_work_off()} in flight are what the provider finishes in {self._work_off_s() / 60:.0f} min"

    def finished(self) -> None:
        """Take note of a request that was found finished."""
        self._finished.append(self._clock.now())
        self._first_at = self._first_at or self._finished[0]
        typical_s = self._typical_s()
        if typical_s is not None:
            self._service_s = min(self._service_s or typical_s, typical_s)

    def _can_harvest(self) -> int:
        reads = self._reads.per_minute * self._record_life_s / 60 * HARVEST_LIFE_SHARE
        return max(1, int(reads / READS_PER_JOB))

    def _can_store(self) -> int:
        bound = self.backlog.bound
        return self.max_in_flight if bound is None else max(1, bound)

    def _can_work_off(self) -> int:
        """Return what the provider finishes within ``_work_off_s``; no bound while too little is known."""
        service_s = self._service_s or 0.0
        window_s = max(self._record_life_s * RATE_LIFE_SHARE, RATE_DURATIONS * service_s)
        now = self._clock.now()
        while self._finished and self._finished[0] < now - window_s:
            self._finished.popleft()
        if self._first_at is None or len(self._finished) < RATE_JOBS_MIN:
            return self.max_in_flight
        # The first jobs come in one wave: their rate says nothing before half a duration has gone by.
        since_s = max(now - self._first_at, service_s / 2, 1.0)
        span_s = max(now - self._finished[0], 1.0) if len(self._finished) == RATE_JOBS_MAX else window_s
        per_s = len(self._finished) / min(window_s, since_s, span_s)
        return max(1, int(per_s * self._work_off_s()))

    def _work_off_s(self) -> float:
        """Return in how many seconds the provider must finish all that is in flight: longer if its jobs are long."""
        return max(self._record_life_s * WORK_OFF_SHARE, SERVICE_FACTOR * (self._service_s or 0.0))
