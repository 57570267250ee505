"""How many jobs are where: read from running totals and from the rows that are not at rest, never from all."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from engine.job.records import Status
from engine.job.states import UNWRITTEN
from engine.ledger.totals import totals

if TYPE_CHECKING:
    import sqlite3

_DECIDED = ", ".join(f"'{state}'" for state in sorted(UNWRITTEN))
_UNDECIDED = (
    "SELECT state, count(*) FROM job INDEXED BY job_unfinished"  # noqa: S608 (our own words)
    f" WHERE state <> 'done' AND state NOT IN ({_DECIDED}) GROUP BY state"
)
_PENDING = "SELECT count(*) FROM job INDEXED BY job_unfinished WHERE state = 'pending' AND state <> 'done'"
_COPIES = (
    "SELECT count(*) FROM input INDEXED BY input_copies CROSS JOIN job USING (job)"
    " WHERE original IS NOT NULL AND state = 'pending'"
)


def count_jobs(db: sqlite3.Connection) -> dict[str, int]:
    """Count jobs by their status once the outcome is decided, else by their state; empty places are left out."""
    decided = totals(db)
    return dict(db.execute(_UNDECIDED).fetchall()) | {
        status: decided[status] for status in get_args(Status) if decided[status]
    }


def count_waiting(db: sqlite3.Connection) -> int:
    """Return how many jobs wait to be submitted; copies, which never are, not counted."""
    (pending,), (copies,) = db.execute(_PENDING).fetchone(), db.execute(_COPIES).fetchone()
    return int(pending - copies)
