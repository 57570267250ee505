"""Being home in time: when to stop submitting, and how many jobs must be in flight for the last to be home.

Both rest on how long a job submitted now will take by what was learned. Pure: facts and moments in, decisions out;
moments are seconds of the monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import ExitCode
from engine.scheduling.stop import Manner, Stop

SPARE_SHARE = 0.1
"""So much more than the computed number of places is taken: durations spread, and a place stays empty for a while."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by which everything that was submitted should be home.

    Attributes:
        at: the moment.
        words: how a person would say it.
    """

    at: float
    words: str

    def is_near(self, now: float, *, job_s: float) -> bool:
        """Whether a job that is submitted now, and takes ``job_s``, would come home too late."""
        return now + job_s > self.at

    def stop(self) -> Stop:
        """Return the reason to stop submitting."""
        return Stop(
            "deadline",
            f"submissions end, so that what is in flight is home by {self.words}",
            ExitCode.STOPPED,
            Manner.HARVEST,
            "go on with 'engine resume'",
        )


@dataclass(frozen=True, slots=True)
class Need:
    """What it takes to be home in time.

    Attributes:
        places: jobs in flight at once; infinite if no number would do.
        per_minute: submissions a minute.
    """

    places: float
    per_minute: float


@dataclass(frozen=True, slots=True)
class Target:
    """A moment by which the whole batch should be home.

    Attributes:
        at: the moment.
        words: how a person would say it.
    """

    at: float
    words: str

    def need(self, now: float, *, waiting: int, job_s: float, last_s: float) -> Need:
        """Return what it takes for ``waiting`` jobs to be submitted and home in time.

        By Little's law so many are in flight as are submitted in the time that one takes.

        Args:
            now: the moment.
            waiting: how many are still to be submitted.
            job_s: how long one takes.
            last_s: how long the last one may take.
        """
        left_s = self.at - now - last_s
        if waiting == 0:
            return Need(0.0, 0.0)
        if left_s <= 0:
            return Need(math.inf, math.inf)
        per_s = waiting / left_s
        return Need(max(1.0, math.ceil((1 + SPARE_SHARE) * per_s * job_s)), 60 * per_s)

    def shortfall(
        self, now: float, *, waiting: int, job_s: float, last_s: float, places: int, per_minute: float
    ) -> str:
        """Say why ``places`` in flight and ``per_minute`` submissions are too few; empty if they will do."""
        need = self.need(now, waiting=waiting, job_s=job_s, last_s=last_s)
        if need.places <= places and need.per_minute <= per_minute:
            return ""
        left_s = max(0.0, self.at - now - last_s)
        in_time = int(left_s * min(per_minute / 60, places / job_s if job_s else math.inf))
        if math.isinf(need.places):
            why = "there is less time left than one job takes"
        elif need.per_minute > per_minute:
            why = f"{need.per_minute:.0f} submissions a minute would be needed, {per_minute:.0f} are allowed"
        else:
            why = f"{need.places:.0f} in flight would be needed, {places} are allowed"
        return f"by {self.words} about {in_time:,} of the {waiting:,} jobs that wait can be home: {why}"
