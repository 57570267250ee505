"""One job under way, as the queues and heaps hold it: the scheduler's whole memory of a job.

Small on purpose (100,000 of them must fit); everything else about a job is in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.job.records import JobError


@dataclass(slots=True, eq=False)
class Flight:
    """One job between being read and being at rest.

    Attributes:
        job: its number in the input, from 0.
        id: its id.
        model: the provider's name of the model.
        attempts: submissions spent on it; the number of the one under way once that was accepted.
        attempts_before: those of them that a person's wish to try again has forgiven.
        params: the JSON of what is submitted; dropped once the provider is known to have it.
        request_id: the provider's name of the submission; empty before.
        intent_utc: when the submission under way, or of unknown outcome, was intended.
        submitted_utc: when the provider took it, seconds since the epoch.
        completed_utc: when we learned that it was completed.
        last_working_utc: when it was last seen still working; bounds the lag of ``completed_utc``.
        due_at: when it is to be asked about next, monotonic seconds.
        polls: how often it was asked about.
        failures: how often in a row the present step brought no answer; drives the back-off.
        media: where its files are, once it is READY: ``{"urls", "bytes_expected", "content_type"}``.
        cost_usd: what the provider charged, once it said.
        error: why it was set aside, if it was.
    """

    job: int
    id: str
    model: str
    attempts: int
    params: bytes = b""
    attempts_before: int = 0
    request_id: str = ""
    intent_utc: float = 0.0
    submitted_utc: float = 0.0
    completed_utc: float = 0.0
    last_working_utc: float = 0.0
    due_at: float = 0.0
    polls: int = 0
    failures: int = 0
    media: dict[str, Any] | None = None
    cost_usd: float | None = None
    error: JobError | None = None

    def has_attempt_left(self, attempts_max: int) -> bool:
        """Whether it may be submitted once more after the attempts spent so far."""
        return self.attempts - self.attempts_before < attempts_max
