"""Work on jobs with a bounded number of workers, first come first served.

A worker is a timer, not a task: a hundred thousand waiting jobs cost a queue entry each. Queue time is
real because a job without a worker waits. Knows nothing of money or HTTP: it says when a job ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from engine.simulator.faults import Fault
from engine.simulator.job import Job, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.simulator.clock import Clock
    from engine.simulator.past_work import PastWork
    from engine.simulator.scenario import Knobs


class WorkerPool:
    """The provider's workers and the queue before them."""

    def __init__(self, knobs: Knobs, clock: Clock, on_end: Callable[[Job], None]) -> None:
        self._knobs = knobs
        self._clock = clock
        self._on_end = on_end
        self._queue: deque[Job] = deque()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def add(self, job: Job) -> None:
        """Queue a job; it starts at once if a worker is free."""
        self._queue.append(job)
        self.fill()

    def go_on(self, past: PastWork) -> None:
        """Take over what is unfinished, with the time that remains of it."""
        now_s = self._clock.now()
        for job, end_s in past.running():
            self._end_after(end_s - now_s, job)
        self._queue.extend(past.waiting)
        self.fill()

    def fill(self) -> None:
        """Give waiting jobs to free workers."""
        while self._queue and len(self._timers) < self._knobs.scenario.work.workers:
            self._start(self._queue.popleft())

    def cancel(self, job: Job) -> None:
        """Take a job that has not ended from the queue, or from its worker."""
        if (timer := self._timers.pop(job.request_id, None)) is not None:
            timer.cancel()
        elif job in self._queue:
            self._queue.remove(job)
        job.move(JobState.CANCELLED, self._clock.now())
        self._on_end(job)
        self.fill()

    def stop(self) -> None:
        """Drop all timers; no job ends after this."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queue.clear()

    def _start(self, job: Job) -> None:
        job.move(JobState.PROCESSING, self._clock.now())
        if Fault.STUCK_JOB not in job.faults:
            self._end_after(job.duration_s, job)

    def _end_after(self, delay_s: float, job: Job) -> None:
        self._timers[job.request_id] = asyncio.get_running_loop().call_later(delay_s, self._end, job)

    def _end(self, job: Job) -> None:
        del self._timers[job.request_id]
        job.move(job.outcome, self._clock.now())
        self._on_end(job)
        self.fill()
