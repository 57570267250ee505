"""A run over time, in at most a few hundred even steps: submissions, completions, what is in flight, money, 429s.

The ledger has no time for the end of a request that brought no result (failed, set aside, tried again). It is taken to
have lasted as long as most did, at the longest until its job was submitted again, or until the last thing happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

BUCKETS_MAX = 240
MINUTE_S = 60
STEPS_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400, 604_800)


_SUBMITTED = (
    "SELECT CAST((submitted_utc - ?) / ? AS INTEGER) AS place, count(*)"
    " FROM attempt WHERE submitted_utc IS NOT NULL GROUP BY place"
)
_COMPLETED = (
    "SELECT CAST((completed_utc - ?) / ? AS INTEGER) AS place, count(*), coalesce(sum(cost_usd), 0)"
    " FROM attempt WHERE submitted_utc IS NOT NULL AND completed_utc IS NOT NULL GROUP BY place"
)
_MEDIAN_S = (
    "SELECT completed_utc - submitted_utc AS duration_s FROM attempt WHERE duration_s IS NOT NULL ORDER BY duration_s"
    " LIMIT 1 OFFSET (SELECT count(completed_utc - submitted_utc) / 2 FROM attempt)"
)
_LEFT = (
    "SELECT CAST((max(request.submitted_utc, min(request.submitted_utc + ?, coalesce(next.intent_utc, ?), ?)) - ?) / ?"
    " AS INTEGER) AS place, count(*) FROM attempt AS request JOIN job USING (job)"
    " LEFT JOIN attempt AS next ON next.job = request.job AND next.attempt = request.attempt + 1"
    " WHERE request.submitted_utc IS NOT NULL AND request.completed_utc IS NULL"
    " AND NOT (job.state = 'submitted' AND job.attempts = request.attempt) GROUP BY place"
)
"""Requests that are not in flight any more and have no result."""


class Bucket(msgspec.Struct, frozen=True):
    """One step.

    Attributes:
        utc: when it begins, epoch seconds.
        submitted, completed, throttled: what happened in it.
        in_flight: requests that were submitted and had not ended at its end.
        spent_usd: charged from the beginning of the run to its end.
    """

    utc: float
    submitted: int
    completed: int
    throttled: int
    in_flight: int
    spent_usd: float


def timeline(db: sqlite3.Connection, *, throttles: Mapping[int, int]) -> tuple[Bucket, ...]:
    """Return the steps of a run.

    Args:
        db: the ledger.
        throttles: how many 429s came in each minute since the epoch.
    """
    first, last = db.execute(
        "SELECT min(submitted_utc), max(max(submitted_utc, coalesce(completed_utc, 0)))"
        " FROM attempt WHERE submitted_utc IS NOT NULL"
    ).fetchone()
    if first is None:
        return ()
    step_s = next((step for step in STEPS_S if (last - first) / step < BUCKETS_MAX), STEPS_S[-1])
    begin = first - first % step_s
    count = int((last - begin) // step_s) + 1
    submitted, completed, left, throttled, spent_usd = *([0] * count for _ in range(4)), [0.0] * count
    for place, times in db.execute(_SUBMITTED, (begin, step_s)):
        submitted[place] = times
    for place, times, usd in db.execute(_COMPLETED, (begin, step_s)):
        completed[place], spent_usd[place] = times, usd
    (median_s,) = db.execute(_MEDIAN_S).fetchone() or (last - first,)
    for place, times in db.execute(_LEFT, (median_s, last, last, begin, step_s)):
        left[place] = times
    for minute, times in throttles.items():
        # A minute that was under way when the run began counts for its first step.
        place = int(max(minute * MINUTE_S - begin, 0.0) // step_s)
        if (minute + 1) * MINUTE_S > begin and place < count:
            throttled[place] += times
    buckets, in_flight, spent = [], 0, 0.0
    for place in range(count):
        in_flight += submitted[place] - completed[place] - left[place]
        spent += spent_usd[place]
        buckets.append(
            Bucket(
                begin + place * step_s, submitted[place], completed[place], throttled[place], in_flight, round(spent, 4)
            )
        )
    return tuple(buckets)
