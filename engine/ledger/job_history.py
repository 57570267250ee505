"""What the ledger says of single jobs: a list of those in a place, and the whole history of one. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engine.clock import iso_utc
from engine.job.money import usd_words
from engine.job.records import decode_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

PLACES: dict[str, str] = {
    "succeeded": "status = 'succeeded'",
    "failed": "status = 'failed'",
    "invalid": "status = 'invalid' OR state = 'invalid'",
    "unknown": "state = 'unknown'",
    "held": "state = 'held'",
    "in_flight": "state IN ('submitting', 'submitted', 'ready')",
    "remaining": "state = 'pending'",
}
"""The places of the survey, each as a condition on a job."""


class JobEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One job in a list."""

    line: int
    id: str | None
    state: str
    attempts: int
    request_id: str | None
    error: Any
    path: str | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a job.

    Attributes:
        utc: when; None where only the order is known.
        what: what happened.
        attempt: of which submission.
        detail: more about it.
    """

    utc: str | None
    what: str
    attempt: int
    detail: str


def jobs_in(db: sqlite3.Connection, place: str) -> Iterator[JobEntry]:
    """Yield the jobs in a place of the survey, in input order."""
    rows = db.execute(
        "SELECT line, id, state, attempts, job.error, attempt.error, request_id,"  # noqa: S608 (our own conditions)
        " (SELECT path FROM file WHERE file.job = job.job ORDER BY position LIMIT 1)"
        " FROM job JOIN input USING (job)"
        " LEFT JOIN attempt ON attempt.job = job.job AND attempt.attempt = job.attempts"
        f" WHERE {PLACES[place]} ORDER BY job.job"
    )
    for line, id_, state, attempts, job_error, attempt_error, request_id, path in rows:
        error = job_error or attempt_error
        yield JobEntry(
            line=line,
            id=id_,
            state=state,
            attempts=attempts,
            request_id=request_id,
            error=None if error is None else decode_json(error),
            path=path,
        )


class InvalidLine(NamedTuple):
    """A line that is no job: its number, and what is wrong with it."""

    line: int
    message: str


def invalid_line(db: sqlite3.Connection, id_: str) -> InvalidLine | None:
    """Return the first invalid line with this id; None if there is none."""
    row = db.execute(
        "SELECT line, error ->> 'message' FROM input JOIN job USING (job) WHERE id = ? AND valid = 0"
        " ORDER BY job LIMIT 1",
        (id_,),
    ).fetchone()
    return None if row is None else InvalidLine(*row)


def history_of(db: sqlite3.Connection, id_: str) -> list[Event] | None:
    """Return everything that happened to the job with this id, oldest first; None if there is none."""
    row = db.execute(
        "SELECT job.job, line, state, status, job.error FROM input JOIN job USING (job) WHERE id = ? AND valid = 1",
        (id_,),
    ).fetchone()
    if row is None:
        return None
    job, line, state, status, error = row
    events = [Event(utc=None, what="read", attempt=0, detail=f"line {line} of the input")]
    attempts = db.execute("SELECT * FROM attempt WHERE job = ? ORDER BY attempt", (job,))
    names = [column[0] for column in attempts.description]
    for attempt in attempts.fetchall():
        events += _attempt_events(dict(zip(names, attempt, strict=True)))
    for path, size_bytes in db.execute("SELECT path, bytes FROM file WHERE job = ? ORDER BY position", (job,)):
        events.append(Event(utc=None, what="file", attempt=0, detail=f"{path}, {size_bytes:,} bytes"))
    outcome = status or "no outcome yet"
    why = "" if error is None else f": {decode_json(error)['kind']}: {decode_json(error)['message']}"
    events.append(Event(utc=None, what=state, attempt=0, detail=outcome + why))
    return events


def _attempt_events(attempt: dict[str, Any]) -> Iterator[Event]:
    number = attempt["attempt"]
    price = "" if attempt["price_usd"] is None else f"{usd_words(attempt['price_usd'])} reserved"
    yield Event(utc=iso_utc(attempt["intent_utc"]), what="intended", attempt=number, detail=price)
    if attempt["submitted_utc"] is not None:
        detail = f"request {attempt['request_id']}"
        yield Event(utc=iso_utc(attempt["submitted_utc"]), what="accepted", attempt=number, detail=detail)
    if attempt["completed_utc"] is not None:
        detail = _completion_words(attempt)
        yield Event(utc=iso_utc(attempt["completed_utc"]), what="completed", attempt=number, detail=detail)
    if attempt["stored_utc"] is not None:
        detail = "every file verified and durable"
        yield Event(utc=iso_utc(attempt["stored_utc"]), what="stored", attempt=number, detail=detail)
    if attempt["error"] is not None:
        found = decode_json(attempt["error"])
        yield Event(utc=None, what="error", attempt=number, detail=f"{found['kind']}: {found['message']}")


def _completion_words(attempt: dict[str, Any]) -> str:
    measured = (("queue_s", "{:.1f} s queued"), ("inference_s", "{:.1f} s generating"))
    cost = [] if attempt["cost_usd"] is None else [f"{usd_words(attempt['cost_usd'])} charged"]
    parts = [*cost, *(words.format(attempt[name]) for name, words in measured if attempt[name] is not None)]
    late = [] if attempt["lag_s"] is None else [f"seen {attempt['lag_s']:.1f} s late"]
    return ", ".join([*parts, *late, f"{attempt['polls']} polls"])
