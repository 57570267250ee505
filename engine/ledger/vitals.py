"""How a run is doing now, from the ledger alone: its speed of the last minutes, its polls, its lag, its money.

Where the survey counts, the vitals measure. Works beside the process that writes; reads only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.estimate import eta
from engine.ledger.schema import facts_in

if TYPE_CHECKING:
    import sqlite3

    from engine.ledger.survey import Survey

WINDOW_S = 600.0
RECENT_JOBS = 1_000
"""Polls, lag and the mean price are those of so many jobs that finished last."""


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured; FORMATS.md describes each field.

    Attributes:
        finished_per_minute: jobs that came to rest a minute, over the last ten.
        submits_per_minute: submissions accepted a minute, over the last ten.
        submit_pace_per_minute: what the limits allow now, as the last process left it.
        spent_usd_per_minute: what they were charged.
        projected_usd: what the whole batch will have cost, at the mean price of the last thousand jobs.
        polls_per_job, lag_mean_s, lag_p95_s: of the last thousand jobs.
        eta_s, eta_spread_s: seconds until the last job is at rest, and how far that may be off.
        waits_for: one sentence on what the process at work waits for, a few seconds old.
        fleet: how its fleet does, in a few words, as old.
    """

    finished_per_minute: float
    submits_per_minute: float
    submit_pace_per_minute: float | None
    spent_usd_per_minute: float
    projected_usd: float | None
    polls_per_job: float | None
    lag_mean_s: float | None
    lag_p95_s: float | None
    eta_s: float | None
    eta_spread_s: float | None
    waits_for: str | None
    fleet: str | None


def vitals(db: sqlite3.Connection, found: Survey, *, now_utc: float) -> Vitals:
    """Measure a run at ``now_utc``, epoch seconds."""
    facts = facts_in(db)
    since_utc = max(now_utc - WINDOW_S, facts.get("opened_utc") or 0.0)
    window_s = max(now_utc - since_utc, 1.0)
    finished, spent_usd = db.execute(
        "SELECT count(*), coalesce(sum(cost_usd), 0) FROM attempt WHERE completed_utc > ?", (since_utc,)
    ).fetchone()
    (submitted,) = db.execute("SELECT count(*) FROM attempt WHERE submitted_utc > ?", (since_utc,)).fetchone()
    polls, lag_mean_s, lag_p95_s = _polling(db)
    left = found.remaining + found.in_flight
    # What is looked up in the provider's history ends at no pace.
    foretold = None if found.unknown and not left else eta(left=left, finished=finished, window_s=window_s)
    return Vitals(
        finished_per_minute=round(60 * finished / window_s, 3),
        submits_per_minute=round(60 * submitted / window_s, 3),
        submit_pace_per_minute=_pace(facts),
        spent_usd_per_minute=round(60 * spent_usd / window_s, 6),
        projected_usd=_projected_usd(db, found),
        polls_per_job=polls,
        lag_mean_s=lag_mean_s,
        lag_p95_s=lag_p95_s,
        eta_s=None if foretold is None else round(foretold.likely_s, 1),
        eta_spread_s=None if foretold is None else round(foretold.spread_s, 1),
        waits_for=facts.get("waits_for") or None,
        fleet=facts.get("fleet") or None,
    )


def _polling(db: sqlite3.Connection) -> tuple[float | None, float | None, float | None]:
    rows = db.execute(
        "SELECT polls, lag_s FROM attempt WHERE completed_utc IS NOT NULL ORDER BY completed_utc DESC LIMIT ?",
        (RECENT_JOBS,),
    ).fetchall()
    lags_s = sorted(lag_s for _, lag_s in rows if lag_s is not None)
    if not rows or not lags_s:
        return (round(sum(polls for polls, _ in rows) / len(rows), 3) if rows else None), None, None
    return (
        round(sum(polls for polls, _ in rows) / len(rows), 3),
        round(sum(lags_s) / len(lags_s), 3),
        round(lags_s[int(0.95 * (len(lags_s) - 1))], 3),
    )


def _projected_usd(db: sqlite3.Connection, found: Survey) -> float | None:
    """Return what was spent, what is reserved, and what the jobs that wait will cost at the mean price of late."""
    if not found.remaining:
        return round(found.spent_usd + found.reserved_usd, 2)
    (mean_usd,) = db.execute(
        "SELECT avg(cost_usd) FROM (SELECT cost_usd FROM attempt WHERE completed_utc IS NOT NULL AND cost_usd > 0"
        " ORDER BY completed_utc DESC LIMIT ?)",
        (RECENT_JOBS,),
    ).fetchone()
    if mean_usd is None:
        (mean_usd,) = db.execute(
            "SELECT avg(price_usd) FROM (SELECT price_usd FROM attempt ORDER BY job DESC LIMIT ?)", (RECENT_JOBS,)
        ).fetchone()
    return None if mean_usd is None else round(found.spent_usd + found.reserved_usd + found.remaining * mean_usd, 2)


def _pace(facts: dict[str, Any]) -> float | None:
    """Return the pace of submissions that the process at work last noted."""
    try:
        per_minute = msgspec.json.decode(facts.get("learned") or "{}")["per_minute"]["submit"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    return round(float(per_minute), 3) if isinstance(per_minute, int | float) else None
