"""What an answer of the provider's changes in the ledger: it has a request, and the request has a result.

Two changes that are usually two commits, and one where the reply to a submission is its result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.records import encode_json
from engine.job.states import State
from engine.ledger.group_commit import RefusedChange
from engine.ledger.moves import move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from engine.job.flight import Flight
    from engine.provider.verdict import Metrics

MEDIA_AT_HAND_BYTES_MAX = 65_536
"""What a job's media say is read into memory with the job only up to this length; a longer one holds the files."""


def accept(
    db: sqlite3.Connection, job: int, attempt: int, request_id: str, *, utc: float, addresses: Mapping[str, str] | None
) -> None:
    """SUBMITTING or UNKNOWN → SUBMITTED.

    Raises:
        RefusedChange: another job already owns that request id.
    """
    owner = db.execute("SELECT job, attempt FROM attempt WHERE request_id = ?", (request_id,)).fetchone()
    if owner is not None and owner[0] != job:
        raise RefusedChange(f"request id {request_id} already belongs to job number {owner[0]}")
    if owner is not None and owner[1] != attempt:
        # The provider recognised the job and named it as before; the name follows the newer attempt.
        db.execute("UPDATE attempt SET request_id = NULL WHERE job = ? AND attempt = ?", owner)
    move(db, job, State.SUBMITTED, attempts=attempt)
    db.execute(
        "UPDATE attempt SET request_id = ?, addresses = ?, submitted_utc = ?, error = NULL"
        " WHERE job = ? AND attempt = ?",
        (request_id, encode_json(dict(addresses)) if addresses else None, utc, job, attempt),
    )


def record(
    db: sqlite3.Connection,
    flight: Flight,
    *,
    metrics: Metrics,
    output: Any,
    media: Mapping[str, Any],
    lag_s: float | None,
) -> None:
    """SUBMITTED or READY → READY, with what the result came to."""
    move(db, flight.job, State.READY)
    db.execute(
        "UPDATE attempt SET completed_utc = ?, cost_usd = coalesce(?, cost_usd), queue_s = ?, inference_s = ?,"
        " lag_s = ?, polls = ?, output = ?, media = ? WHERE job = ? AND attempt = ?",
        (
            flight.completed_utc,
            metrics.cost_usd,
            metrics.queue_s,
            metrics.inference_s,
            lag_s,
            flight.polls,
            encode_json(output),
            encode_json(media),
            flight.job,
            flight.attempts,
        ),
    )
