"""Equal bodies paid for once: copies are answered with what became of their original.

A copy never leaves PENDING until its original is decided; then it takes over its outcome in the same
transaction. Its result line shows the original's request and files, no attempts, and no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.states import State
from engine.ledger.moves import move

if TYPE_CHECKING:
    import sqlite3


def answer_copies(db: sqlite3.Connection, original: int) -> int:
    """Give every waiting copy the outcome of its original, if that is decided; return how many were answered."""
    status, error = db.execute("SELECT status, error FROM job WHERE job = ?", (original,)).fetchone()
    if status is None:
        return 0
    after = State.STORED if status == "succeeded" else State.FAILED
    waiting = db.execute(
        "SELECT job FROM job JOIN input USING (job) WHERE original = ? AND state = 'pending'", (original,)
    ).fetchall()
    for (job,) in waiting:
        move(db, job, after, status=status, error=error)
    return len(waiting)
