"""Rates and estimates from a tally that is looked at now and then.

The rate is that of the last minutes of this process, so that what an earlier process did before a resume
does not flatter it; without enough to go by there is no estimate.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from engine.estimate import eta

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.estimate import Eta
    from engine.scheduling.tally import Tally

WINDOW_S = 600.0


class _Sample(NamedTuple):
    """The tally at one moment."""

    at: float
    finished: int
    submits: int
    spent_usd: float


class Figures:
    """Derives speeds from a tally.

    Args:
        tally_now: the tally as it is.
        now: monotonic seconds.
    """

    def __init__(self, tally_now: Callable[[], Tally], now: Callable[[], float] = time.monotonic) -> None:  # noqa: TID251 (for display only)
        self._tally_now = tally_now
        self._now = now
        self._began_at = now()
        self._samples: deque[_Sample] = deque([self._sample()])

    @property
    def tally(self) -> Tally:
        """The tally as it is."""
        return self._tally_now()

    def _sample(self) -> _Sample:
        tally = self.tally
        return _Sample(self._now(), tally.succeeded + tally.failed, tally.submits, tally.spent_usd)

    def note(self) -> None:
        """Take a sample of the tally."""
        self._samples.append(self._sample())
        while self._samples[-1].at - self._samples[0].at > WINDOW_S:
            self._samples.popleft()

    @property
    def elapsed_s(self) -> float:
        """How long this process has worked."""
        return self._now() - self._began_at

    @property
    def finished_per_minute(self) -> float:
        """Jobs that came to rest a minute, over the last ten minutes of this process."""
        return self._per_minute(self._samples[-1].finished - self._samples[0].finished)

    @property
    def submits_per_minute(self) -> float:
        """Submissions a minute, over the same time."""
        return self._per_minute(self._samples[-1].submits - self._samples[0].submits)

    @property
    def spent_usd_per_minute(self) -> float:
        """US dollars charged a minute, over the same time."""
        return self._per_minute(self._samples[-1].spent_usd - self._samples[0].spent_usd)

    @property
    def projected_usd(self) -> float | None:
        """What the whole batch will have cost if jobs go on costing what they did; None before the first has."""
        tally = self.tally
        if tally.pending and tally.mean_usd is None:
            return None
        return tally.spent_usd + tally.reserved_usd + tally.pending * (tally.mean_usd or 0.0)

    @property
    def eta(self) -> Eta | None:
        """Until when the last job is expected at rest; None while there is too little to go by.

        When an outcome that nobody knows will be found in the provider's history is foretold by no pace.
        """
        first, last = self._samples[0], self._samples[-1]
        left = self.tally.pending + self.tally.in_flight
        if not left and self.tally.unknown:
            return None
        return eta(left=left, finished=last.finished - first.finished, window_s=last.at - first.at)

    def _per_minute(self, amount: float) -> float:
        window_s = self._samples[-1].at - self._samples[0].at
        return 60 * amount / window_s if window_s > 0 else 0.0
