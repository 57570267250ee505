"""Turn the ledger's rows of jobs whose outcome is decided into result lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.clock import iso_utc
from engine.job.records import JobError, ResultLine, StoredFile, Timings, decode_json
from engine.job.states import UNWRITTEN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_OWED = ", ".join(f"'{state}'" for state in sorted(UNWRITTEN))
_UNWRITTEN = (
    f"SELECT job FROM job INDEXED BY job_unfinished WHERE state IN ({_OWED}) AND state <> 'done'"  # noqa: S608 (our own words)
    " ORDER BY seq IS NULL, seq, job LIMIT ?"
)
_PROMISED = f"SELECT job FROM job WHERE state IN ({_OWED}) AND seq IS NOT NULL ORDER BY seq"  # noqa: S608 (our own words)
PAYER = "coalesce(original, job.job)"
"""The job whose submission answered ``job``: itself, or the original of a copy."""
PAID_ATTEMPT = (
    f" LEFT JOIN attempt ON attempt.job = {PAYER} AND attempt.attempt ="  # noqa: S608 (our own words)
    f" (SELECT paid.attempts FROM job AS paid WHERE paid.job = {PAYER})"
)
"""Joins ``job`` and ``input`` with the last attempt that was made for the job."""
_COLUMNS = (
    "SELECT job.job, line, id, job.status, model, metadata, job.attempts, job.seq, job.error, request_id,"  # noqa: S608 (our own words)
    " submitted_utc, completed_utc, stored_utc, cost_usd, queue_s, inference_s, lag_s, output, original"
    f" FROM job JOIN input USING (job){PAID_ATTEMPT}"
)


def unwritten_jobs(db: sqlite3.Connection, *, limit: int) -> list[int]:
    """Return up to ``limit`` jobs whose outcome is decided and whose line is owed; those with a place first."""
    return [job for (job,) in db.execute(_UNWRITTEN, (limit,))]


def promised_jobs(db: sqlite3.Connection) -> list[int]:
    """Return the jobs whose line got its place, and may have been printed, but was never recorded as written."""
    return [job for (job,) in db.execute(_PROMISED)]


def unwritten_run(db: sqlite3.Connection, *, first: int, limit: int) -> list[int]:
    """Return the unbroken run of decided jobs from job ``first`` on: what input order allows to write.

    Lines that were written out of order, by a process that was not asked to keep it, are stepped over.
    """
    jobs: list[int] = []
    rows = db.execute(
        "SELECT job, state FROM job WHERE job >= ? AND state <> 'done' ORDER BY job LIMIT ?", (first, limit)
    )
    for job, state in rows:
        if state not in UNWRITTEN:
            break
        jobs.append(job)
    return jobs


def load_results(db: sqlite3.Connection, jobs: Sequence[int], *, first_seq: int) -> list[tuple[int, ResultLine]]:
    """Return (job, result line) for ``jobs``, in their order; a line without a place yet is numbered on."""
    found: list[tuple[int, ResultLine]] = []
    for job in jobs:
        row = db.execute(f"{_COLUMNS} WHERE job.job = ?", (job,)).fetchone()
        found.append((job, _result(db, row, default_seq=first_seq + len(found))))
    return found


def load_written(db: sqlite3.Connection, *, first_seq: int, limit: int) -> list[ResultLine]:
    """Return up to ``limit`` lines that were written, from ``first_seq`` on: what a rebuilt output is made of."""
    rows = db.execute(
        f"{_COLUMNS} WHERE state = 'done' AND seq >= ? ORDER BY seq LIMIT ?", (first_seq, limit)
    ).fetchall()
    return [_result(db, row, default_seq=-1) for row in rows]


def _result(db: sqlite3.Connection, row: tuple[Any, ...], *, default_seq: int) -> ResultLine:
    (job, line, id_, status, model, metadata, attempts, seq, error, request_id, submitted_utc) = row[:11]
    (completed_utc, stored_utc, cost_usd, queue_s, inference_s, lag_s, output, original) = row[11:]
    return ResultLine(
        id=id_,
        line=line,
        seq=default_seq if seq is None else seq,
        status=status,
        model=model,
        request_id=request_id,
        output=None if output is None else decode_json(output),
        files=_files(db, job if original is None else original) if status == "succeeded" else (),
        error=None if error is None else msgspec.json.decode(error, type=JobError),
        cost_usd=cost_usd if original is None else 0.0,
        attempts=attempts,
        timings=Timings(
            submitted_utc=_iso(submitted_utc),
            completed_utc=_iso(completed_utc),
            stored_utc=_iso(stored_utc),
            queue_s=queue_s,
            inference_s=inference_s,
            lag_s=lag_s,
        ),
        metadata=None if metadata is None else decode_json(metadata),
    )


def _files(db: sqlite3.Connection, job: int) -> tuple[StoredFile, ...]:
    rows = db.execute(
        "SELECT path, url, bytes, sha256, content_type, checks FROM file WHERE job = ? ORDER BY position", (job,)
    )
    return tuple(
        StoredFile(path=path, url=url, bytes=size, sha256=digest.hex(), content_type=kind, checks=tuple(checks.split()))
        for path, url, size, digest, kind, checks in rows
    )


def _iso(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else iso_utc(epoch_s)
