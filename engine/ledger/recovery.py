"""Sort what a crash or a defect left: no intent without an answer is ever submitted again blindly.

One change, made when a run is opened, before anything is submitted. What it leaves UNKNOWN, the history settles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.records import JobError
from engine.job.states import State
from engine.ledger.moves import move, set_attempt_error

if TYPE_CHECKING:
    import sqlite3

UNANSWERED = JobError(
    kind="unknown_outcome", message="the engine ended between the intent to submit and the provider's answer", paid=True
)


def recover(db: sqlite3.Connection) -> int:
    """Bring intents to UNKNOWN, and a job that was held to where its last attempt got to.

    Returns how many became UNKNOWN.
    """
    unanswered = db.execute(_UNANSWERED).fetchall()
    for job, attempt in unanswered:
        move(db, job, State.UNKNOWN, attempts=attempt, error=None)
        set_attempt_error(db, job, attempt, UNANSWERED)
    for job, request_id, media, lost in db.execute(_HELD).fetchall():
        if lost:
            after = State.UNKNOWN
        elif request_id is None:
            after = State.PENDING
        else:
            after = State.SUBMITTED if media is None else State.READY
        move(db, job, after, error=None)
    return len(unanswered)


_UNANSWERED = (
    "SELECT job, attempt FROM job INDEXED BY job_unfinished CROSS JOIN attempt USING (job)"
    " WHERE state IN ('submitting', 'held') AND state <> 'done' AND attempt.attempt = job.attempts + 1"
)
_HELD = (
    # An attempt that a person's wish to try again has forgiven says nothing about the job any more.
    "SELECT job.job, request_id, media, coalesce(attempt.error ->> 'kind' = 'unknown_outcome', 0)"
    " FROM job INDEXED BY job_unfinished LEFT JOIN attempt ON attempt.job = job.job"
    " AND attempt.attempt = job.attempts AND job.attempts > job.attempts_before"
    " WHERE state = 'held' AND state <> 'done' AND NOT EXISTS"
    " (SELECT 1 FROM attempt AS unanswered WHERE unanswered.job = job.job AND unanswered.attempt > job.attempts)"
)
