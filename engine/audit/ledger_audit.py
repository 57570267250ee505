"""Check the ledger against itself: whole as a database, and its tables at one about every job.

Reads only; sees the ledger as it was at the last commit, beside whoever writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.audit.findings import Finding, Kind
from engine.ledger.totals import count_again, totals

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

DAMAGES_SHOWN_MAX = 20


class _Rule(NamedTuple):
    """Jobs that break a rule, as a query of (job, id), and what is wrong with each."""

    query: str
    detail: str


_JOB_WITH_ID = "SELECT job.job, input.id FROM job LEFT JOIN input USING (job) "
_RULES = (
    _Rule(
        "SELECT job, id FROM input WHERE job NOT IN (SELECT job FROM job)",
        "its line was read, but the table of jobs does not know it",
    ),
    _Rule(
        "SELECT job, NULL FROM job WHERE job NOT IN (SELECT job FROM input)",
        "the table of jobs has it, but no line was read for it",
    ),
    _Rule(
        f"{_JOB_WITH_ID} WHERE state = 'done' AND (status IS NULL OR seq IS NULL)",
        "it is done, but has no outcome or no place in the output",
    ),
    _Rule(f"{_JOB_WITH_ID} WHERE status = 'failed' AND error IS NULL", "it failed, but nothing says why"),
    _Rule(
        f"{_JOB_WITH_ID} JOIN attempt ON attempt.job = job.job AND attempt.attempt = job.attempts"
        " WHERE state IN ('submitted', 'ready') AND request_id IS NULL",
        "it is in flight, but its request id is not known",
    ),
)


def audit_ledger(db: sqlite3.Connection) -> Iterator[Finding]:
    """Yield what is wrong with the ledger itself."""
    damages = [text for (text,) in db.execute(f"PRAGMA integrity_check({DAMAGES_SHOWN_MAX})") if text != "ok"]
    for text in damages:
        yield Finding(kind=Kind.LEDGER_DAMAGED, subject="run.db", detail=text)
    if damages:
        return
    for rule in _RULES:
        for job, id_ in db.execute(rule.query):
            yield Finding(kind=Kind.JOB_INCONSISTENT, subject=f"job number {job}", detail=rule.detail, job=job, id=id_)
    yield from _gaps(db)
    yield from _wrong_totals(db)


def _wrong_totals(db: sqlite3.Connection) -> Iterator[Finding]:
    """Yield the running totals that are not what the rows add up to."""
    kept = totals(db)
    for name, counted in count_again(db).items():
        if kept.get(name) != counted:
            detail = f"it says {kept.get(name)}, the rows add up to {counted}"
            yield Finding(kind=Kind.TOTAL_WRONG, subject=f"total {name}", detail=detail)


def _gaps(db: sqlite3.Connection) -> Iterator[Finding]:
    """Yield the finding that the places of the written lines do not run from 0 without a gap."""
    lines, last = db.execute("SELECT count(*), max(seq) FROM job WHERE state = 'done'").fetchone()
    if lines and last != lines - 1:
        yield Finding(
            kind=Kind.JOB_INCONSISTENT,
            subject="places in the output",
            detail=f"{lines} lines are written, but the last has place {last}",
        )
