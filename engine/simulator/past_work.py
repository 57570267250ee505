"""Work on jobs in time that has gone by: the worker pool's rules without its timers.

Jobs are added in the order in which they came, each at its moment; in between, time is advanced and jobs
end when they would have ended. What is still running or waiting at the end is the pool's to go on with.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from engine.simulator.faults import Fault
from engine.simulator.job import Job, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class PastWork:
    """Workers whose clock is set by hand; it starts without any."""

    def __init__(self, on_end: Callable[[Job], None]) -> None:
        self._on_end = on_end
        self._workers = 0
        self._now_s = float("-inf")
        self._ends: list[tuple[float, int, Job]] = []  # a heap; the number keeps ties in their order
        self._started_count = 0
        self.waiting: deque[Job] = deque()

    def advance(self, moment_s: float) -> None:
        """Let time pass, and end what ends until then."""
        while self._ends and self._ends[0][0] <= moment_s:
            self._now_s, _, job = heappop(self._ends)
            job.move(job.outcome, self._now_s)
            self._on_end(job)
            self._fill()
        self._now_s = moment_s

    def add(self, job: Job) -> None:
        """Queue a job at the present moment; it starts at once if a worker is free."""
        self.waiting.append(job)
        self._fill()

    def cancel(self, job: Job) -> None:
        """Take a job from the queue, or from its worker, at the present moment."""
        if job in self.waiting:
            self.waiting.remove(job)
        self._ends = [entry for entry in self._ends if entry[-1] is not job]
        heapify(self._ends)
        job.move(JobState.CANCELLED, self._now_s)
        self._on_end(job)
        self._fill()

    def staff(self, workers: int) -> None:
        """Have this many workers from now on."""
        self._workers = workers
        self._fill()

    def running(self) -> Iterator[tuple[Job, float]]:
        """Yield each job that a worker has, and when it will end."""
        return ((job, end_s) for end_s, _, job in sorted(self._ends))

    def _fill(self) -> None:
        while self.waiting and len(self._ends) < self._workers:
            job = self.waiting.popleft()
            job.move(JobState.PROCESSING, self._now_s)
            if Fault.STUCK_JOB not in job.faults:
                self._started_count += 1
                heappush(self._ends, (self._now_s + job.duration_s, self._started_count, job))
