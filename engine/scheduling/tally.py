"""The figures of a run while it works: one plain object that the moving parts count in and the console reads.

Counts nothing that the ledger does not also know; it saves the console from asking it ten times a second.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.job.records import JobError

RECENT_FAILURES_MAX = 50


@dataclass(slots=True)
class Tally:
    """Figures of one run; counts include what earlier processes did unless they say ``here``.

    Attributes:
        lines: job lines read so far.
        input_complete: whether the whole input has been read.
        pending: jobs that wait to be submitted.
        submitting, generating, fetching, downloading: the jobs in flight, by where they are.
        queued: those of the generating that waited in the provider's queue when they were last asked about.
        succeeded, failed, invalid: jobs whose outcome is decided.
        written: result lines in the output.
        unknown, held: jobs set aside.
        spent_usd: what the providers said they charged.
        mean_usd: what a submission was charged on average, here; None before the first was.
        reserved_usd: what jobs in flight and unknown outcomes may still cost.
        in_flight_peak: the most jobs that were in flight at once, here.
        submits, polls, throttles: requests made here.
        throttled_in_minute: how many 429s came in each minute since the epoch, for the picture of a night.
        downloaded_bytes: media stored here.
        lag_sum_s, lag_jobs: for the mean time between a completion and our learning of it, here.
        causes: how many jobs failed of what.
        recent_failures: the last failed jobs as (id, kind, message).
    """

    lines: int = 0
    input_complete: bool = False
    pending: int = 0
    submitting: int = 0
    generating: int = 0
    queued: int = 0
    fetching: int = 0
    downloading: int = 0
    succeeded: int = 0
    failed: int = 0
    invalid: int = 0
    written: int = 0
    unknown: int = 0
    held: int = 0
    spent_usd: float = 0.0
    mean_usd: float | None = None
    reserved_usd: float = 0.0
    in_flight_peak: int = 0
    submits: int = 0
    polls: int = 0
    throttles: int = 0
    throttled_in_minute: Counter[int] = field(default_factory=Counter)
    downloaded_bytes: int = 0
    lag_sum_s: float = 0.0
    lag_jobs: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    recent_failures: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=RECENT_FAILURES_MAX))

    def note_failure(self, id_: str, error: JobError, *, copies: int) -> None:
        """Count a failed job with its copies and keep it among the last ones."""
        self.failed += 1 + copies
        self.causes[error.kind] += 1 + copies
        self.recent_failures.append((id_, error.kind, error.message))

    def note_throttle(self, utc: float) -> None:
        """Count a 429 that came at ``utc``, epoch seconds."""
        self.throttles += 1
        self.throttled_in_minute[int(utc // 60)] += 1

    @property
    def in_flight(self) -> int:
        """Jobs submitted and not yet at rest."""
        return self.submitting + self.generating + self.fetching + self.downloading

    @property
    def decided(self) -> int:
        """Jobs whose outcome is final."""
        return self.succeeded + self.failed + self.invalid
