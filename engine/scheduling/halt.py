"""When a batch is not worth going on with: canary, share of failures, a run of failures alike.

Each rule looks at outcomes as they are decided and answers with a reason to stop, or none. What an earlier
process of the same run saw does not count, except for the canary: whoever resumes has looked and decided.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.errors import ExitCode
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.job.records import JobError

_VARIABLE_PARTS = re.compile(r"[0-9a-fA-F]{8,}|\d+|https?://\S+")
_SIGNATURE_CHARS_MAX = 120
_RESUME_HINT = "look at the failures (engine status RUN_DIR), mend the cause, then run the same command again"


@dataclass(slots=True)
class CanaryReport:
    """What the first jobs measured.

    Attributes:
        succeeded, failed: how they ended.
        cost_usd: what they cost together.
        duration_s: how long those took that succeeded, together.
        media_bytes: the size of their files.
    """

    succeeded: int = 0
    failed: int = 0
    cost_usd: float = 0.0
    duration_s: float = 0.0
    media_bytes: int = 0

    def sentence(self) -> str:
        """Say what the first jobs showed, per job."""
        n = max(1, self.succeeded)
        measured = f"${self.cost_usd / n:,.3f}, {self.duration_s / n:,.0f} s and {self.media_bytes / n / 1e6:,.1f} MB"
        return (
            f"canary: {self.succeeded} of {self.succeeded + self.failed} first jobs succeeded, "
            f"each {measured} on average; the rest is released"
        )


class Canary:
    """Holds the batch back until its first ``jobs`` are at rest.

    Args:
        jobs: how many go first; 0 for no canary.
        decided: how many jobs of the run have an outcome already.
        on_released: called with what the first jobs measured once the rest may go.
    """

    def __init__(
        self, *, jobs: int, decided: int, on_released: Callable[[CanaryReport], None] = lambda _report: None
    ) -> None:
        self._left = max(0, jobs - decided)
        self._on_released = on_released
        self.report = CanaryReport()

    def room(self, under_way: int) -> int | None:
        """Return how many more jobs may go while the canary lasts; None once it is over."""
        return max(0, self._left - under_way) if self._left else None

    def decided(self, error: JobError | None, *, cost_usd: float, duration_s: float, media_bytes: int) -> bool:
        """Take note of an outcome; returns whether the canary ended with it."""
        if not self._left:
            return False
        self._left -= 1
        if error is not None:
            self.report.failed += 1
        else:
            self.report.succeeded += 1
            self.report.cost_usd += cost_usd
            self.report.duration_s += duration_s
            self.report.media_bytes += media_bytes
        return self._left == 0

    def release(self) -> None:
        """Tell what the first jobs measured: nothing stops the rest."""
        self._on_released(self.report)

    def stop(self) -> Stop | None:
        """Return the reason to stop if every canary job failed."""
        if self.report.succeeded or not self.report.failed:
            return None
        message = f"all {self.report.failed} canary jobs failed; the rest was not submitted"
        return Stop("canary", message, ExitCode.STOPPED, Manner.HARVEST, _RESUME_HINT)


@dataclass(slots=True)
class HaltRules:
    """Stops a batch that mostly fails.

    Attributes:
        failed_share: the share of failed jobs that is too much; None for no such rule.
        after_jobs: how many outcomes there must be before a share means something.
        same_failures: so many failures alike in a row are one cause, not chance; 0 for no such rule.
    """

    failed_share: float | None
    after_jobs: int
    same_failures: int
    _succeeded: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _alike: int = field(default=0, init=False)
    _signature: str = field(default="", init=False)

    def decided(self, error: JobError | None) -> Stop | None:
        """Take note of an outcome (None: it succeeded); returns a reason to stop, if this makes one."""
        if error is None:
            self._succeeded += 1
            self._alike = 0
            return None
        self._failed += 1
        found = signature(error)
        self._alike = self._alike + 1 if found == self._signature else 1
        self._signature = found
        return self._too_many_alike(error) or self._too_large_a_share()

    def _too_many_alike(self, error: JobError) -> Stop | None:
        if not self.same_failures or self._alike < self.same_failures:
            return None
        message = f"{self._alike} jobs in a row failed alike ({error.kind}: {error.message})"
        return Stop("same_failures", message, ExitCode.STOPPED, Manner.HARVEST, _RESUME_HINT)

    def _too_large_a_share(self) -> Stop | None:
        decided = self._succeeded + self._failed
        if self.failed_share is None or decided < self.after_jobs or self._failed < self.failed_share * decided:
            return None
        message = f"{self._failed} of {decided} jobs failed; halt.failed_share is {self.failed_share:g}"
        return Stop("failed_share", message, ExitCode.STOPPED, Manner.HARVEST, _RESUME_HINT)


def signature(error: JobError) -> str:
    """Return what failures of one cause have in common: the kind and the text without ids, numbers and URLs."""
    return f"{error.kind}:{error.http_status}:{_VARIABLE_PARTS.sub('#', error.message)[:_SIGNATURE_CHARS_MAX]}"
