"""The one way in which a job changes its state in the ledger.

SQLite itself refuses what ``job/states.py`` does not allow: an update names the states it may come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.records import JobError, encode_json
from engine.job.states import TRANSITIONS, State, origins_of
from engine.ledger.group_commit import RefusedChange

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


def _quoted(states: Iterable[State]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


_ORIGINS = {state: _quoted(origins_of(state)) for state in TRANSITIONS}


def move(db: sqlite3.Connection, job: int, after: State, **columns: Any) -> None:
    """Change a job's state if the table of transitions allows it, and other columns of its row with it."""
    assignments = "".join(f", {name} = ?" for name in columns)
    moved = db.execute(
        f"UPDATE job SET state = ?{assignments} WHERE job = ? AND state IN ({_ORIGINS[after]})",  # noqa: S608 (our own names)
        (after, *columns.values(), job),
    ).rowcount
    if moved != 1:
        found = db.execute("SELECT state FROM job WHERE job = ?", (job,)).fetchone()
        raise RefusedChange(f"job number {job} is {found and found[0]} and may not become {after}")


def set_attempt_error(db: sqlite3.Connection, job: int, attempt: int, error: JobError | None) -> None:
    """Record, or clear, why an attempt did not succeed."""
    db.execute(
        "UPDATE attempt SET error = ? WHERE job = ? AND attempt = ?",
        (None if error is None else encode_json(error), job, attempt),
    )


def note(db: sqlite3.Connection, facts: Mapping[str, Any]) -> None:
    """Record facts about the run under their names."""
    db.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", list(facts.items()))
