"""How lines of the input enter the ledger: block by block, each with its id, its repeats, and whose copy it is.

An id that was not given follows from the content, and repeats of the same content are numbered. Where equal
bodies are to be paid for once, the first of them is the *original*; the others are copies that wait for it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from engine.job.job import occurrence_id
from engine.job.model_name import provider_of
from engine.job.records import JobError, encode_json
from engine.job.states import BIRTH, State
from engine.ledger.copies import answer_copies
from engine.ledger.moves import note

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence


class InputRow(NamedTuple):
    """One line of the input on its way into the ledger.

    An id that was not given is derived from the content; its repeats are numbered when they are inserted. With
    an ``error`` the line is invalid: the other columns hold what could still be read of it.
    """

    line: int
    id: str | None
    id_given: bool
    model: str | None
    params: bytes | None
    metadata: bytes | None
    body_sha256: bytes | None
    error: JobError | None


class SpoolMark(NamedTuple):
    """How far the input has been read: everything up to here is in the ledger."""

    bytes: int
    sha256: str
    lines: int
    ends_in_newline: bool
    complete: bool


class Spooled(NamedTuple):
    """What became of a block of input rows.

    Attributes:
        pending: how many jobs wait to be submitted, by the name of their provider.
        copies: how many wait for an equal body instead of being submitted.
        invalid: how many are none.
    """

    pending: Mapping[str, int]
    copies: int
    invalid: int

    @property
    def lines(self) -> int:
        """How many there were."""
        return sum(self.pending.values()) + self.copies + self.invalid


def add_lines(db: sqlite3.Connection, rows: Sequence[InputRow], mark: SpoolMark, *, dedupe: bool = False) -> Spooled:
    """Take a block of input lines in, with the mark up to which the input is read.

    Args:
        db: the ledger.
        rows: the lines, in order.
        mark: how far the input is read with them.
        dedupe: whether equal bodies are to be submitted once.
    """
    (first,) = db.execute("SELECT coalesce(max(job), -1) + 1 FROM input").fetchone()
    places: Counter[tuple[str, str]] = Counter()
    for offset, row in enumerate(rows):
        place = _insert(db, first + offset, row, dedupe=dedupe)
        places[place, provider_of(row.model or "") if place == "pending" else ""] += 1
    note(db, {f"input_{name}": value for name, value in mark._asdict().items()})
    pending = {provider: count for (place, provider), count in places.items() if place == "pending"}
    return Spooled(pending, places["copies", ""], places["invalid", ""])


def _insert(db: sqlite3.Connection, job: int, row: InputRow, *, dedupe: bool) -> str:
    """Insert one line; returns the field of ``Spooled`` that it counts for. A line whose id is taken is invalid."""
    error, id_, occurrence = row.error, row.id, 0
    if error is None and not row.id_given:
        assert id_ is not None
        occurrence = _occurrence(db, row)
        id_ = occurrence_id(id_, occurrence)
    if error is None:
        taken = db.execute("SELECT line FROM input WHERE valid = 1 AND id = ?", (id_,)).fetchone()
        if taken is not None:
            error = JobError(kind="duplicate_id", message=f"id {id_!r} was already given on line {taken[0]}")
    original = _original(db, row) if dedupe and error is None else None
    state = State.PENDING if error is None else State.INVALID
    assert state in BIRTH
    db.execute(
        "INSERT INTO input (job, line, id, valid, model, params, metadata, body_sha256, occurrence, original)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (job, row.line, id_, error is None, row.model, row.params, row.metadata, row.body_sha256, occurrence, original),
    )
    db.execute(
        "INSERT INTO job (job, state, status, error) VALUES (?, ?, ?, ?)",
        (job, state, None if error is None else "invalid", None if error is None else encode_json(error)),
    )
    if original is not None:
        answer_copies(db, original)
        return "copies"
    return "pending" if error is None else "invalid"


def _occurrence(db: sqlite3.Connection, row: InputRow) -> int:
    (last,) = db.execute(
        "SELECT max(occurrence) FROM input WHERE valid = 1 AND body_sha256 = ?", (row.body_sha256,)
    ).fetchone()
    return int(last or 0) + 1


def _original(db: sqlite3.Connection, row: InputRow) -> int | None:
    """Return the first job with the same body, if there is one."""
    found = db.execute(
        "SELECT job FROM input WHERE valid = 1 AND body_sha256 = ? AND original IS NULL ORDER BY job LIMIT 1",
        (row.body_sha256,),
    ).fetchone()
    return None if found is None else int(found[0])
