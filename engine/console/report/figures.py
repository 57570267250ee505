"""Everything that the report shows but the single jobs, read from the ledger alone.

One document of plain values: the page draws it, the other formats write it out, and a page that is fed live gets a
newer one of the same shape. Reads only, beside whoever writes; SQLite does the counting, so that of a million jobs
nothing is held but the numbers of one histogram.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

import msgspec

from engine import __version__
from engine.console.report.timeline import Bucket, timeline
from engine.ledger.counts import count_owed
from engine.ledger.schema import facts_in
from engine.ledger.stopped import Stopped, stopped_in
from engine.ledger.survey import Survey, survey

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

REPORT_VERSION = 1
BINS = 40


class Promise(msgspec.Struct, frozen=True):
    """One thing the engine promises, and whether the ledger shows it kept."""

    promise: str
    kept: bool
    shown_by: str


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How often values fell between edges: ``counts[i]`` of them in ``[edges[i], edges[i + 1])``."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float
    p95: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document; FORMATS.md describes each field."""

    version: int
    engine: str
    name: str
    made_utc: float
    running: str | None
    stopped: Stopped | None
    survey: Survey
    wall_s: float | None
    finished_per_hour: float | None
    promises: tuple[Promise, ...]
    timeline: tuple[Bucket, ...]
    durations: Histogram | None
    lags: Histogram | None
    polls: Histogram | None


_LAST_ATTEMPT = "FROM attempt JOIN job USING (job) WHERE attempt.attempt = job.attempts"
_DURATIONS = (
    f"SELECT round(completed_utc - submitted_utc, 2) {_LAST_ATTEMPT} AND completed_utc > 0 AND submitted_utc > 0"
)
_LAGS = f"SELECT lag_s {_LAST_ATTEMPT} AND lag_s IS NOT NULL"
_POLLS = f"SELECT polls {_LAST_ATTEMPT} AND polls > 0"
_PAID_TWICE = (
    # What a person asked to have tried again was forgiven: nobody but that person has it paid for once more.
    "SELECT count(*) FILTER (WHERE unasked > 1), count(*) FILTER (WHERE unasked <= 1) FROM"
    " (SELECT count(*) FILTER (WHERE attempt > attempts_before) AS unasked FROM attempt JOIN job USING (job)"
    " WHERE cost_usd > 0 GROUP BY job HAVING count(*) > 1)"
)


def gather(db: sqlite3.Connection, *, name: str, made_utc: float, running: str | None) -> Report:
    """Read the document.

    Args:
        db: the ledger.
        name: of the run directory.
        made_utc: now, epoch seconds.
        running: who works on the run now; None if nobody does.
    """
    found = survey(db)
    facts = facts_in(db)
    first, last = _span(db)
    wall_s = last - first if first is not None and last is not None else None
    decided = found.succeeded + found.failed
    return Report(
        version=REPORT_VERSION,
        engine=__version__,
        name=name,
        made_utc=made_utc,
        running=running,
        stopped=None if found.is_finished else stopped_in(facts, running=running is not None),
        survey=found,
        wall_s=wall_s,
        finished_per_hour=round(3600 * decided / wall_s, 2) if wall_s and decided else None,
        promises=tuple(_promises(db, found, facts)),
        timeline=timeline(db, throttles=_throttles(facts)),
        durations=histogram(db.execute(_DURATIONS)),
        lags=histogram(db.execute(_LAGS)),
        polls=histogram(db.execute(_POLLS), whole=True),
    )


def histogram(rows: Iterable[tuple[float]], *, whole: bool = False) -> Histogram | None:
    """Count values in even bins from 0 to a little above their 99th percentile; what is above goes into the last.

    Args:
        rows: one value each, not negative.
        whole: whether they are whole numbers, each of which should have a bin of its own.
    """
    ordered = array("d", sorted(value for (value,) in rows))
    if not ordered:
        return None
    top = ordered[int(0.99 * (len(ordered) - 1))] * 1.05 or 1.0
    bins = BINS
    if whole:  # a bin each, as long as there are few
        bins = min(BINS, math.ceil(top))
        top = float(bins * math.ceil(top / bins))
    counts = [0] * bins
    for value in ordered:
        counts[min(int(value / top * bins), bins - 1)] += 1
    return Histogram(
        edges=tuple(round(top * edge / bins, 4) for edge in range(bins + 1)),
        counts=tuple(counts),
        median=round(ordered[len(ordered) // 2], 3),
        p95=round(ordered[int(0.95 * (len(ordered) - 1))], 3),
    )


def _span(db: sqlite3.Connection) -> tuple[float | None, float | None]:
    """Return when the first submission was intended and when the last thing happened."""
    first, last = db.execute(
        "SELECT min(intent_utc), max(max(intent_utc, coalesce(completed_utc, 0), coalesce(stored_utc, 0))) FROM attempt"
    ).fetchone()
    return first, last


def _promises(db: sqlite3.Connection, found: Survey, facts: dict[str, Any]) -> Iterable[Promise]:
    decided = found.succeeded + found.failed + found.invalid
    twice, wished = db.execute(_PAID_TWICE).fetchone()
    again = f"; {wished:,} were paid for again at a person's wish" if wished else ""
    yield Promise(
        "No job was paid for twice",
        twice == 0,
        f"{found.submissions:,} submissions were accepted; {twice:,} jobs have two that were charged{again}",
    )
    owed = count_owed(db)
    waiting = f"; {owed:,} more are decided and about to be written" if owed else ""
    yield Promise(
        "Every outcome has its line",
        bool(facts.get("output_stale")) or found.written + owed == decided,
        f"{found.written:,} lines are written of {decided:,} outcomes{waiting}",
    )
    (files, unchecked) = db.execute("SELECT count(*), count(*) FILTER (WHERE checks = '') FROM file").fetchone()
    yield Promise("Every file was verified", unchecked == 0, f"{files:,} files; 'engine verify' checks them again")
    places = decided + found.unknown + found.held + found.in_flight + found.remaining
    yield Promise("Every line is accounted for", places == found.lines, f"{places:,} of {found.lines:,} lines")


def _throttles(facts: dict[str, Any]) -> dict[int, int]:
    try:
        return msgspec.json.decode(facts.get("throttles") or "{}", type=dict[int, int])
    except msgspec.DecodeError:
        return {}
