"""Jobs out of the ledger as flights: those that wait to be submitted, those under way, those of unknown outcome.

Reads only. Knows nothing of what is done with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.flight import Flight
from engine.job.records import decode_json
from engine.ledger.counts import PROVIDER_SQL
from engine.ledger.outcomes import MEDIA_AT_HAND_BYTES_MAX

if TYPE_CHECKING:
    import sqlite3

    from engine.job.states import State


def pending_after(db: sqlite3.Connection, job: int, limit: int, *, provider: str | None = None) -> list[Flight]:
    """Return the next jobs that wait to be submitted, in input order, beginning behind ``job``.

    Args:
        db: the ledger.
        job: the number of the last one known.
        limit: how many at most.
        provider: the name of the provider whose jobs are asked for; None for those of all.
    """
    return [
        Flight(number, id_, model, attempts, params, attempts_before=before)
        for number, id_, model, attempts, params, before in db.execute(
            _PENDING_AFTER, {"job": job, "limit": limit, "provider": provider}
        )
    ]


def flights_in(db: sqlite3.Connection, state: State) -> list[Flight]:
    """Return every job that is SUBMITTED or READY, whichever is asked for; oldest submission first."""
    return [_under_way(row) for row in db.execute(_UNDER_WAY, (MEDIA_AT_HAND_BYTES_MAX, state))]


def unknowns(db: sqlite3.Connection) -> list[Flight]:
    """Return every job whose submission has an unknown outcome, oldest intent first."""
    return [
        Flight(
            job,
            id_,
            model,
            attempts,
            params,
            sent=sent or b"",
            attempts_before=before,
            request_id=request_id or "",
            intent_utc=intent_utc,
        )
        for job, id_, model, attempts, params, sent, before, request_id, intent_utc in db.execute(_UNKNOWN)
    ]


_PENDING_AFTER = (
    "SELECT job, id, model, attempts, params, attempts_before"  # noqa: S608 (our own words)
    " FROM job INDEXED BY job_unfinished CROSS JOIN input USING (job) WHERE state = 'pending' AND state <> 'done'"
    f" AND original IS NULL AND job > :job AND (:provider IS NULL OR {PROVIDER_SQL} = :provider)"
    " ORDER BY job LIMIT :limit"
)
_UNDER_WAY = (
    "SELECT job, id, model, attempts, params, request_id, addresses, submitted_utc, completed_utc, polls,"
    " CASE WHEN length(media) <= ? THEN media END"
    " FROM job INDEXED BY job_unfinished CROSS JOIN input USING (job) CROSS JOIN attempt USING (job)"
    " WHERE state = ? AND state <> 'done' AND attempt.attempt = job.attempts ORDER BY submitted_utc"
)
_UNKNOWN = (
    "SELECT job, id, model, attempts, params, sent, attempts_before, request_id, intent_utc"
    " FROM job INDEXED BY job_unfinished CROSS JOIN input USING (job) CROSS JOIN attempt USING (job)"
    " WHERE state = 'unknown' AND state <> 'done' AND attempt.attempt = job.attempts ORDER BY intent_utc"
)


def _under_way(row: tuple[Any, ...]) -> Flight:
    job, id_, model, attempts, params, request_id, addresses, submitted_utc, completed_utc, polls, media = row
    return Flight(
        job,
        id_,
        model,
        attempts,
        params,
        request_id=request_id,
        addresses=None if addresses is None else decode_json(addresses),
        submitted_utc=submitted_utc,
        completed_utc=completed_utc or 0.0,
        polls=polls,
        media=None if media is None else decode_json(media),
    )
