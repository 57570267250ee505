"""One job under way, as the queues and heaps hold it: the scheduler's whole memory of a job.

Small on purpose (100,000 of them must fit); everything else about a job is in the ledger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.job.records import JobError


UNNAMED = "unnamed-"
"""What a request id begins with that we made, because the provider gave none."""


@dataclass(slots=True, eq=False)
class Flight:
    """One job between being read and being at rest.

    Attributes:
        job: its number in the input, from 0.
        id: its id.
        model: the provider's name of the model.
        attempts: submissions spent on it; the number of the one under way once that was accepted.
        attempts_before: those of them that a person's wish to try again has forgiven.
        params: the JSON of what the job line asks for; dropped once the provider is known to have it.
        sent: the JSON of what was submitted, where that is something else; dropped likewise.
        request_id: the provider's name of the submission; empty before.
        addresses: where the provider said that it can be asked about, if its description cares.
        intent_utc, submitted_utc, completed_utc: when its submission was intended, was accepted, and when we learned
            that it was completed; seconds since the epoch, for the ledger and the history.
        intended_at, submitted_at, completed_at: the same moments by the monotonic clock, for ages and lags.
        last_working_at: when it was last seen still working; bounds the lag of its completion.
        refused_at: since when its result is refused although it is completed; 0 while it is not.
        polls: how often it was asked about.
        queued: whether it waited in the provider's queue when it was last asked about.
        poll_at: when its next poll is to be offered, by the monotonic clock; 0 if none is planned.
        failures: how often in a row the present step brought no answer; drives the back-off, and decides nothing.
        unfound: how often the provider said that it does not know the request.
        locations: how often the provider answered where its files are now, after they were not where it had said.
        media: where its files are, once it is READY: ``{"urls", "bytes_expected", "content_type"}``; None if they came
            with the result and are too long to be kept in memory: the ledger has them.
        price_usd: what was reserved for it.
        cost_usd: what the provider charged, once it said.
        error: why it was set aside, if it was.
        cancel_wanted: whether a person wants it cancelled, and the provider is still to be asked.
        cancel_sent: whether the provider was, or may have been, asked to cancel it.
        cancel_paid: whether it may be charged if it ends cancelled.
    """

    job: int
    id: str
    model: str
    attempts: int
    params: bytes = b""
    sent: bytes = b""
    attempts_before: int = 0
    request_id: str = ""
    addresses: dict[str, str] | None = None
    intent_utc: float = 0.0
    submitted_utc: float = 0.0
    completed_utc: float = 0.0
    intended_at: float = 0.0
    submitted_at: float = 0.0
    completed_at: float = 0.0
    last_working_at: float = -math.inf
    refused_at: float = 0.0
    polls: int = 0
    queued: bool = False
    poll_at: float = 0.0
    failures: int = 0
    unfound: int = 0
    locations: int = 0
    media: dict[str, Any] | None = None
    price_usd: float | None = None
    cost_usd: float | None = None
    error: JobError | None = None
    cancel_wanted: bool = False
    cancel_sent: bool = False
    cancel_paid: bool = True

    def anchor(self, *, now: float, utc: float) -> None:
        """Derive the monotonic moments of a flight that an earlier process began.

        Only here is an age taken from two stored times; within a process no change of the clock can age a job.
        """
        self.intended_at = now - max(0.0, utc - (self.intent_utc or utc))
        self.submitted_at = now - max(0.0, utc - (self.submitted_utc or utc))
        self.completed_at = now - max(0.0, utc - (self.completed_utc or utc))

    @property
    def body(self) -> bytes:
        """The JSON of what was submitted."""
        return self.sent or self.params

    @property
    def seen_running_s(self) -> float:
        """The age at which it was last seen still working, in seconds; 0 if it was not asked about yet."""
        return max(0.0, self.last_working_at - self.submitted_at)

    def has_attempt_left(self, attempts_max: int) -> bool:
        """Whether it may be submitted once more after the attempts spent so far."""
        return self.attempts - self.attempts_before < attempts_max
