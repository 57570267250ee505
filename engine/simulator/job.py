"""One accepted job: its life as a table, and what is true of it at a given moment.

A job is billed when it completes, whether or not anybody still asks; its record is counted from the
submit. Knows nothing of workers, money or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.simulator.faults import Fault


class JobState(StrEnum):
    """The provider's words."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


LIFE: dict[JobState, tuple[JobState, ...]] = {
    JobState.QUEUED: (JobState.PROCESSING, JobState.CANCELLED),
    JobState.PROCESSING: (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED),
    JobState.COMPLETED: (),
    JobState.FAILED: (),
    JobState.CANCELLED: (),
}
TERMINAL = frozenset(state for state, following in LIFE.items() if not following)


@dataclass(slots=True, eq=False)
class Job:
    """An accepted submission. Seconds are monotonic; ``created_utc`` is since the epoch."""

    request_id: str
    model: str
    body: bytes  # canonical JSON
    body_sha256: str
    nth: int  # 0 for the first accepted submission of this body
    attempt: int  # 0 for the first POST of this body that reached the model
    created_s: float
    created_utc: float
    duration_s: float
    price_usd: float
    files_count: int
    faults: frozenset[Fault]
    error: str | None = None  # set from the start if the job is going to fail
    state: JobState = JobState.QUEUED
    started_s: float | None = None
    ended_s: float | None = None
    remaining_credits_usd: float | None = None
    gets_count: int = 0
    result_fetched: bool = False
    charged_cancel: bool = False  # cancelled so late that it is charged all the same
    deleted: bool = False  # its record is gone, whatever its age
    downloads: dict[int, int] = field(default_factory=dict)  # by file: how often it was asked for

    @property
    def key(self) -> str:
        """The same in every run with the same bodies; the subject of this job's draws."""
        return f"{self.body_sha256}:{self.nth}"

    @property
    def outcome(self) -> JobState:
        """The state it is going to end in."""
        return JobState.COMPLETED if self.error is None else JobState.FAILED

    def move(self, state: JobState, now_s: float) -> None:
        """Go one step along ``LIFE``."""
        assert state in LIFE[self.state], f"{self.state} -> {state}"
        self.state = state
        if state is JobState.PROCESSING:
            self.started_s = now_s
        else:
            self.ended_s = now_s

    def state_at(self, moment_s: float) -> JobState:
        """Return the state at an earlier moment."""
        if self.ended_s is not None and self.ended_s <= moment_s:
            return self.state
        if self.started_s is not None and self.started_s <= moment_s:
            return JobState.PROCESSING
        return JobState.QUEUED

    @property
    def queue_time_s(self) -> float:
        """How long it waited for a worker; 0 before it has one."""
        return (self.started_s or self.created_s) - self.created_s

    @property
    def inference_time_s(self) -> float:
        """How long a worker had it; 0 before it ended."""
        ended = self.ended_s is not None and self.started_s is not None
        return (self.ended_s or 0.0) - (self.started_s or 0.0) if ended else 0.0
