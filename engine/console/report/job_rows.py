"""The jobs of a report, one after another in input order, however many there are.

The page shows them by the page: ten thousand cards are what a browser carries easily, a million are not. The other
formats write out every one of them as it is read. Reads only, and holds one job at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.console.messages import harmless
from engine.job.records import decode_json
from engine.output.result_lines import PAID_ATTEMPT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

PROMPT_CHARS_MAX = 400
PAGE_JOBS = 10_000


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


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the jobs.

    Attributes:
        jobs: in input order.
        next_line: the line that the next page begins with; None if there is none.
    """

    jobs: tuple[JobRow, ...]
    next_line: int | None


_JOBS = (
    "SELECT line, id, state, status, model, params, job.job, original, request_id, attempts, polls, cost_usd,"  # noqa: S608 (our own words)
    " submitted_utc, completed_utc, lag_s, coalesce(job.error, attempt.error), metadata"
    f" FROM input JOIN job USING (job){PAID_ATTEMPT}"
    " WHERE input.job >= ? ORDER BY input.job LIMIT ?"
)
_FILES = "SELECT path, content_type, bytes FROM file WHERE job = ? ORDER BY position"
_IN_FLIGHT = frozenset({"submitting", "submitted", "ready"})
_ALL = -1


def job_page(db: sqlite3.Connection, *, from_line: int = 1, jobs_max: int = PAGE_JOBS) -> JobPage:
    """Read the page that begins with a line of the input, or with the first job line behind it."""
    rows = tuple(job_rows(db, from_line=from_line, jobs_max=jobs_max + 1))
    return JobPage(jobs=rows[:jobs_max], next_line=rows[jobs_max].line if len(rows) > jobs_max else None)


def job_rows(db: sqlite3.Connection, *, from_line: int = 1, jobs_max: int = _ALL) -> Iterator[JobRow]:
    """Yield jobs in input order."""
    first = db.execute("SELECT job FROM input WHERE line >= ? ORDER BY job LIMIT 1", (from_line,)).fetchone()
    for row in db.execute(_JOBS, (*first, jobs_max)) if first else ():
        line, id_, state, status, model, params, job, original, request_id, attempts, polls, cost_usd = row[:12]
        submitted_utc, completed_utc, lag_s, error, metadata = row[12:]
        ended = submitted_utc is not None and completed_utc is not None
        files = db.execute(_FILES, (job if original is None else original,)) if status == "succeeded" else ()
        yield JobRow(
            line=line,
            id=harmless(id_ or ""),
            place=status or ("in_flight" if state in _IN_FLIGHT else "remaining" if state == "pending" else state),
            model=model,
            prompt=_prompt(params),
            files=tuple(files),
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
