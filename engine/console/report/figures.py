"""Everything that the report shows, read from the ledger alone.

One document of plain values: the page draws it, the other formats write it out, and a page that is fed live gets a
newer one of the same shape. Reads only, beside whoever writes; holds one row a job, so a hundred thousand are fine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from engine import __version__
from engine.console.messages import harmless
from engine.console.report.timeline import Bucket, timeline
from engine.job.records import decode_json
from engine.ledger.survey import Survey, survey

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

REPORT_VERSION = 1
PROMPT_CHARS_MAX = 400
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


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as the gallery shows it."""

    line: int
    id: str
    place: str
    model: str | None
    prompt: str
    files: tuple[tuple[str, str, int], ...]
    """Path relative to the run directory, media type, length in bytes."""
    request_id: str | None
    attempts: int
    polls: int
    cost_usd: float | None
    duration_s: float | None
    lag_s: float | None
    submitted_utc: float | None
    completed_utc: float | None
    error: Any
    metadata: Any


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document; FORMATS.md describes each field."""

    version: int
    engine: str
    name: str
    made_utc: float
    running: str | None
    survey: Survey
    wall_s: float | None
    finished_per_hour: float | None
    promises: tuple[Promise, ...]
    timeline: tuple[Bucket, ...]
    durations: Histogram | None
    lags: Histogram | None
    polls: Histogram | None
    jobs: tuple[JobRow, ...]


_JOBS = (
    "SELECT line, id, state, status, model, params, job.job, original, request_id, attempts, polls, cost_usd,"
    " submitted_utc, completed_utc, lag_s, coalesce(job.error, attempt.error), metadata"
    " FROM job JOIN input USING (job)"
    " LEFT JOIN attempt ON attempt.job = coalesce(original, job.job) AND attempt.attempt ="
    " (SELECT paid.attempts FROM job AS paid WHERE paid.job = coalesce(original, job.job))"
    " ORDER BY job.job"
)
_IN_FLIGHT = frozenset({"submitting", "submitted", "ready"})


def gather(db: sqlite3.Connection, *, name: str, made_utc: float, running: str | None) -> Report:
    """Read the document.

    Args:
        db: the ledger.
        name: of the run directory.
        made_utc: now, epoch seconds.
        running: who works on the run now; None if nobody does.
    """
    found = survey(db)
    facts: dict[str, Any] = dict(db.execute("SELECT key, value FROM meta").fetchall())
    jobs = tuple(_jobs(db))
    first, last = _span(db)
    wall_s = last - first if first is not None and last is not None else None
    decided = found.succeeded + found.failed
    return Report(
        version=REPORT_VERSION,
        engine=__version__,
        name=name,
        made_utc=made_utc,
        running=running,
        survey=found,
        wall_s=wall_s,
        finished_per_hour=round(3600 * decided / wall_s, 2) if wall_s and decided else None,
        promises=tuple(_promises(db, found)),
        timeline=timeline(db, throttles=_throttles(facts)),
        durations=histogram([job.duration_s for job in jobs if job.duration_s is not None]),
        lags=histogram([job.lag_s for job in jobs if job.lag_s is not None]),
        polls=histogram([float(job.polls) for job in jobs if job.polls], whole=True),
        jobs=jobs,
    )


def histogram(values: list[float], *, whole: bool = False) -> Histogram | None:
    """Count values in even bins from 0 to a little above their 99th percentile; what is above goes into the last.

    Args:
        values: not negative.
        whole: whether they are whole numbers, each of which should have a bin of its own.
    """
    if not values:
        return None
    ordered = sorted(values)
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


def _jobs(db: sqlite3.Connection) -> Iterable[JobRow]:
    files: dict[int, list[tuple[str, str, int]]] = {}
    for job, path, kind, size in db.execute("SELECT job, path, content_type, bytes FROM file ORDER BY job, position"):
        files.setdefault(job, []).append((path, kind, size))
    for row in db.execute(_JOBS):
        line, id_, state, status, model, params, job, original, request_id, attempts, polls, cost_usd = row[:12]
        submitted_utc, completed_utc, lag_s, error, metadata = row[12:]
        ended = submitted_utc is not None and completed_utc is not None
        own = files.get(job if original is None else original, ())
        yield JobRow(
            line=line,
            id=harmless(id_ or ""),
            place=status or ("in_flight" if state in _IN_FLIGHT else "remaining" if state == "pending" else state),
            model=model,
            prompt=_prompt(params),
            files=tuple(own) if status == "succeeded" else (),
            request_id=request_id,
            attempts=attempts,
            polls=polls or 0,
            cost_usd=cost_usd if original is None else 0.0,
            duration_s=round(completed_utc - submitted_utc, 2) if ended else None,
            lag_s=lag_s,
            submitted_utc=submitted_utc,
            completed_utc=completed_utc,
            error=None if error is None else decode_json(error),
            metadata=None if metadata is None else decode_json(metadata),
        )


def _prompt(params: bytes | None) -> str:
    """Return what a job asks for in words; empty if its params hold none."""
    asked = {} if params is None else decode_json(params)
    words = next((asked[key] for key in ("prompt", "text", "script") if isinstance(asked.get(key), str)), "")
    return "\n".join(harmless(line) for line in words[:PROMPT_CHARS_MAX].splitlines())


def _span(db: sqlite3.Connection) -> tuple[float | None, float | None]:
    """Return when the first submission was intended and when the last thing happened."""
    first, last = db.execute(
        "SELECT min(intent_utc), max(max(intent_utc, coalesce(completed_utc, 0), coalesce(stored_utc, 0))) FROM attempt"
    ).fetchone()
    return first, last


def _promises(db: sqlite3.Connection, found: Survey) -> Iterable[Promise]:
    decided = found.succeeded + found.failed + found.invalid
    (twice,) = db.execute(
        "SELECT count(*) FROM (SELECT job FROM attempt WHERE cost_usd > 0 GROUP BY job HAVING count(*) > 1)"
    ).fetchone()
    yield Promise(
        "No job was paid for twice",
        twice == 0,
        f"{found.submissions:,} submissions were accepted; {twice:,} jobs have two that were charged",
    )
    yield Promise(
        "Every outcome has its line",
        found.written == decided,
        f"{found.written:,} lines are written of {decided:,} outcomes",
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
