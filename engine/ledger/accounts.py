"""The money of a run as the ledger has it: what a process needs to go on where the one before stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.ledger.totals import highest_usd

if TYPE_CHECKING:
    import sqlite3


class Reservation(NamedTuple):
    """A job that may still be charged, or was charged nobody knows how much; its price, if one was known."""

    job: int
    model: str
    price_usd: float | None


class Accounts(NamedTuple):
    """What is not in the sum of what was charged.

    Attributes:
        reserved: the jobs whose price stays reserved.
        written_off_usd: what submissions may have cost that were repeated although nobody knows what was charged for
            them: their outcome is unknown, they were cancelled, or a person would pay again.
        highest_usd: the most that a job of each model was charged.
    """

    reserved: list[Reservation]
    written_off_usd: float
    highest_usd: dict[str, float]


def accounts(db: sqlite3.Connection) -> Accounts:
    """Read the accounts."""
    (written_off_usd,) = db.execute(_WRITTEN_OFF).fetchone()
    return Accounts([Reservation(*row) for row in db.execute(_RESERVED)], float(written_off_usd), highest_usd(db))


_RESERVED = (
    "SELECT job, model, price_usd FROM attempt INDEXED BY attempt_unpriced"
    " CROSS JOIN job USING (job) CROSS JOIN input USING (job)"
    " WHERE cost_usd IS NULL AND attempt.attempt = job.attempts"
    " AND (state IN ('submitted', 'ready', 'unknown') OR status = 'succeeded' OR job.error ->> 'paid')"
)
_WRITTEN_OFF = (
    "SELECT coalesce(sum(price_usd), 0) FROM attempt INDEXED BY attempt_unpriced CROSS JOIN job USING (job)"
    " WHERE cost_usd IS NULL AND (attempt < attempts OR state = 'pending' OR job.error ->> 'paid' = 0)"
    " AND attempt.error ->> 'paid'"  # adopted since, it has no error; failed by the provider's word, one that is not
)
