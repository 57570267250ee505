"""What the ledger says of a run as a whole: counts, money, time. Works beside the process that writes.

Used for the progress at start, for ``status`` and for the summary, so that all three agree. Reads only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.job.states import State
from engine.ledger.counts import count_jobs
from engine.ledger.schema import facts_in
from engine.ledger.totals import NANO, totals

if TYPE_CHECKING:
    import sqlite3


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A group of jobs that failed, or lines that are invalid, for one kind of reason."""

    status: str
    kind: str
    jobs: int
    example_id: str | None
    example_line: int
    example_message: str


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a run; FORMATS.md describes each field. Counts of jobs add up to ``lines``.

    Attributes:
        lines: job lines read (blank lines are none).
        input_complete: whether the input was read to its end.
        remaining: jobs still waiting to be submitted.
        in_flight: submitted and not yet at rest.
        unknown, held: set aside; see the states of a job.
        succeeded, failed, invalid: outcomes that are decided.
        written: result lines in the output.
        submissions: submissions that the provider accepted.
        spent_usd: what the provider said it charged.
        reserved_usd: what the jobs in flight and the unknown outcomes may still cost, at the prices expected.
        at_risk_usd: the part of it that belongs to unknown outcomes; None if a price is not known.
        media_bytes: size of all files.
        oldest_in_flight_utc: when the oldest request in flight was submitted, epoch seconds.
        begun_utc, ended_utc: when the run was created, and when the last process ended, epoch seconds.
        model, input, output: the default model, where job lines came from, and where result lines go.
        causes: why jobs failed and lines are invalid, most frequent first.
    """

    lines: int
    input_complete: bool
    remaining: int
    in_flight: int
    unknown: int
    held: int
    succeeded: int
    failed: int
    invalid: int
    written: int
    submissions: int
    spent_usd: float
    reserved_usd: float
    at_risk_usd: float | None
    media_bytes: int
    oldest_in_flight_utc: float | None
    begun_utc: float | None
    ended_utc: float | None
    model: str | None
    input: str | None
    output: str | None
    causes: tuple[Cause, ...]

    @property
    def is_finished(self) -> bool:
        """Whether every job is at rest, and no line is left unread."""
        return self.input_complete and self.succeeded + self.failed + self.invalid == self.lines


def survey(db: sqlite3.Connection) -> Survey:
    """Read the whole survey: running totals, and the rows of jobs that are not at rest."""
    facts = facts_in(db)
    counts = count_jobs(db)
    reserved_usd, at_risk_usd = _open_usd(db)
    sums = totals(db)
    (oldest,) = db.execute(
        "SELECT min(submitted_utc) FROM job INDEXED BY job_unfinished CROSS JOIN attempt USING (job)"
        " WHERE state IN ('submitted', 'ready') AND state <> 'done' AND attempt.attempt = job.attempts"
    ).fetchone()
    return Survey(
        lines=sum(counts.values()),
        input_complete=bool(facts.get("input_complete", 0)),
        remaining=counts.get(State.PENDING, 0),
        in_flight=sum(counts.get(state, 0) for state in (State.SUBMITTING, State.SUBMITTED, State.READY)),
        unknown=counts.get(State.UNKNOWN, 0),
        held=counts.get(State.HELD, 0),
        succeeded=counts.get("succeeded", 0),
        failed=counts.get("failed", 0),
        invalid=counts.get("invalid", 0),
        written=int(facts.get("output_lines", 0)),
        submissions=sums["submissions"],
        spent_usd=round(sums["spent_nano_usd"] / NANO, 6),
        reserved_usd=reserved_usd,
        at_risk_usd=at_risk_usd,
        media_bytes=sums["media_bytes"],
        oldest_in_flight_utc=oldest,
        begun_utc=facts.get("created_utc"),
        ended_utc=facts.get("ended_utc"),
        model=facts.get("model"),
        input=facts.get("input_name"),
        output=facts.get("output_path"),
        causes=causes(db),
    )


def _open_usd(db: sqlite3.Connection) -> tuple[float, float | None]:
    """Return what may still be charged in all, and what of it is at risk because the outcome is unknown."""
    reserved, at_risk, unpriced = db.execute(
        "SELECT coalesce(sum(price_usd), 0), sum(price_usd) FILTER (WHERE state = 'unknown'),"
        " count(*) FILTER (WHERE state = 'unknown' AND price_usd IS NULL)"
        " FROM job INDEXED BY job_unfinished CROSS JOIN attempt USING (job)"
        " WHERE state <> 'done' AND attempt.attempt >= job.attempts AND cost_usd IS NULL AND attempt > attempts_before"
        " AND state IN ('submitting', 'submitted', 'ready', 'unknown', 'held')"
    ).fetchone()
    return round(reserved, 6), None if unpriced else round(at_risk or 0.0, 6)


def causes(db: sqlite3.Connection) -> tuple[Cause, ...]:
    """Return why jobs failed and lines are invalid, most frequent first."""
    rows = db.execute(
        "SELECT status, error ->> 'kind' AS kind, count(*), min(job.job), id, line, error ->> 'message'"
        " FROM job INDEXED BY job_refused CROSS JOIN input USING (job) WHERE status IN ('failed', 'invalid')"
        " GROUP BY status, kind ORDER BY count(*) DESC, kind"
    )
    return tuple(
        Cause(status=status, kind=kind, jobs=jobs, example_id=id_, example_line=line, example_message=message)
        for status, kind, jobs, _, id_, line, message in rows
    )
