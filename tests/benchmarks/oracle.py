"""A clairvoyant client: it knows each completion and spends one poll and one fetch on each job.

It sends a request in every slot of the plan, at exactly the limit, if there is one worth sending. What it prefers
decides about its makespan, so both orders are tried and the better one counts: finished jobs first, or new ones
first as long as no record grows old.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD_LIFE_S = 3_600.0
OLD_SHARE = 0.75


@dataclass(frozen=True)
class Batch:
    """What is to be done: so many jobs, so long each, within the plan."""

    jobs: int
    per_minute: float
    in_flight_max: int
    duration_s: Callable[[int], float]
    fails: Callable[[int], bool]
    workers: int | None


def best_makespan_s(batch: Batch) -> float:
    return min(_makespan_s(batch, submits_first=order) for order in (False, True))


def _makespan_s(batch: Batch, *, submits_first: bool) -> float:
    slot_s = 60.0 / batch.per_minute
    now = 0.0
    running: list[tuple[float, float, int]] = []  # done at, submitted at, requests to go
    finished: list[tuple[float, int]] = []  # submitted at, requests to go
    free_at = [0.0] * (batch.workers or 0)
    submitted = in_flight = 0
    while submitted < batch.jobs or in_flight:
        while running and running[0][0] <= now:
            _, since, left = heapq.heappop(running)
            heapq.heappush(finished, (since, left))
        may_submit = submitted < batch.jobs and in_flight < batch.in_flight_max
        old = bool(finished) and now - finished[0][0] > OLD_SHARE * RECORD_LIFE_S
        if may_submit and (not finished or (submits_first and not old)):
            duration_s = batch.duration_s(submitted)
            done_at = now + duration_s
            if batch.workers:
                done_at = max(now, heapq.heappop(free_at)) + duration_s
                heapq.heappush(free_at, done_at)
            heapq.heappush(running, (done_at, now, 1 if batch.fails(submitted) else 2))
            submitted += 1
            in_flight += 1
        elif finished:
            since, left = heapq.heappop(finished)
            if left > 1:
                heapq.heappush(finished, (since, left - 1))
            else:
                in_flight -= 1
        elif running:
            now = max(now, running[0][0])
            continue
        now += slot_s
    return now
