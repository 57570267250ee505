"""How many jobs are where: from running totals and the rows that are not at rest; what may look at all says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from engine.job.model_name import provider_of
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
_OWED = (
    "SELECT count(*) FROM job INDEXED BY job_unfinished"  # noqa: S608 (our own words)
    f" WHERE state <> 'done' AND state IN ({_DECIDED})"
)
_PENDING = "SELECT count(*) FROM job INDEXED BY job_unfinished WHERE state = 'pending' AND state <> 'done'"
_COPIES = (
    "SELECT count(*) FROM input INDEXED BY input_copies CROSS JOIN job USING (job)"
    " WHERE original IS NOT NULL AND state = 'pending'"
)

PROVIDER_SQL = "rtrim(substr(model, 1, instr(model, ':')), ':')"
"""The name of the provider before a model, as ``model_name.provider_of`` finds it."""
_WAITING_BY_PROVIDER = (
    f"SELECT {PROVIDER_SQL}, count(*) FROM job INDEXED BY job_unfinished CROSS JOIN input USING (job)"  # noqa: S608
    " WHERE state = 'pending' AND state <> 'done' AND original IS NULL GROUP BY 1"
)
_PROVIDERS_OF_UNFINISHED = (
    f"SELECT DISTINCT {PROVIDER_SQL} FROM job INDEXED BY job_unfinished CROSS JOIN input USING (job)"  # noqa: S608
    f" WHERE state <> 'done' AND state NOT IN ({_DECIDED})"
)

_TAKEN = "SELECT EXISTS (SELECT 1 FROM attempt CROSS JOIN input USING (job) WHERE request_id IS NOT NULL AND {})"
_TAKEN_OF_MODEL = _TAKEN.format("model = ?")
_TAKEN_OF_PROVIDER = _TAKEN.format(f"{PROVIDER_SQL} = ?")


def count_jobs(db: sqlite3.Connection) -> dict[str, int]:
    """Count jobs by their status once the outcome is decided, else by their state; empty places are left out."""
    decided = totals(db)
    return dict(db.execute(_UNDECIDED).fetchall()) | {
        status: decided[status] for status in get_args(Status) if decided[status]
    }


def count_owed(db: sqlite3.Connection) -> int:
    """Return how many jobs have an outcome whose result line is still to be written."""
    return int(db.execute(_OWED).fetchone()[0])


def count_waiting(db: sqlite3.Connection) -> int:
    """Return how many jobs wait to be submitted; copies, which never are, not counted."""
    (pending,), (copies,) = db.execute(_PENDING).fetchone(), db.execute(_COPIES).fetchone()
    return int(pending - copies)


def count_waiting_by_provider(db: sqlite3.Connection) -> dict[str, int]:
    """Return how many jobs wait to be submitted, by the name of their provider."""
    return dict(db.execute(_WAITING_BY_PROVIDER).fetchall())


def providers_of_unfinished(db: sqlite3.Connection) -> set[str]:
    """Return the names of the providers that jobs without a decided outcome belong to."""
    return {provider for (provider,) in db.execute(_PROVIDERS_OF_UNFINISHED)}


def takes_others_only(db: sqlite3.Connection, model: str) -> bool:
    """Whether the provider of a model has taken jobs in this run, and never one of this model; may look at them all."""
    (of_provider,) = db.execute(_TAKEN_OF_PROVIDER, (provider_of(model),)).fetchone()
    (of_model,) = db.execute(_TAKEN_OF_MODEL, (model,)).fetchone()
    return bool(of_provider and not of_model)
