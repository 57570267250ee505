"""Who may claim a row of the provider's history: what the ledger knows when lost submissions are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.job.flight import UNNAMED, Flight

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


class Claims(NamedTuple):
    """Who owns which request, and who has none yet.

    Attributes:
        owners: the jobs of this run that own a request, by its id.
        claimants: every submission of the model to which the provider gave no id that we know; those come first that
            were answered or whose reply may still come, because they must not lose their row to a lost one.
    """

    owners: dict[str, Flight]
    claimants: list[Flight]


def claims(db: sqlite3.Connection, model: str, request_ids: Sequence[str]) -> Claims:
    """Return the claims on requests of a model."""
    owners = {
        request_id: _claimant(row)
        for request_id in request_ids
        if (row := db.execute(_OWNER, (request_id,)).fetchone()) is not None
    }
    unnamed = db.execute(_UNNAMED, (UNNAMED, UNNAMED[:-1] + chr(ord(UNNAMED[-1]) + 1), model))
    return Claims(owners, [_claimant(row) for row in (*unnamed, *db.execute(_WITHOUT_ID, (model,)))])


def first_intent_after(db: sqlite3.Connection, model: str, utc: float) -> float | None:
    """Return when the first accepted submission of a model after ``utc`` was intended; None if there was none."""
    (found,) = db.execute(
        "SELECT min(intent_utc) FROM attempt JOIN input USING (job)"
        " WHERE model = ? AND intent_utc > ? AND request_id IS NOT NULL",
        (model, utc),
    ).fetchone()
    return None if found is None else float(found)


_CLAIMANT = (
    "SELECT job, id, model, attempt, coalesce(sent, params), intent_utc"
    " FROM attempt JOIN input USING (job) JOIN job USING (job)"
)
_OWNER = _CLAIMANT + " WHERE request_id = ?"
_UNNAMED = _CLAIMANT + " WHERE request_id >= ? AND request_id < ? AND model = ?"
_WITHOUT_ID = _CLAIMANT + (  # noqa: S608 (our own words)
    " WHERE state IN ('submitting', 'unknown', 'held') AND model = ? AND request_id IS NULL"
    " AND attempt = (SELECT max(attempt) FROM attempt AS latest WHERE latest.job = job.job)"
    " ORDER BY state = 'unknown', intent_utc"
)


def _claimant(row: tuple[Any, ...]) -> Flight:
    job, id_, model, attempt, body, intent_utc = row
    return Flight(job, id_, model, attempt, body, intent_utc=intent_utc)
