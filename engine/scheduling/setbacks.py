"""What a 429 or an outage means for a lane: it slows down or holds, it is counted, and the log says so.

Touches no job: whoever ran into it keeps its attempts and asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.scheduling.lane import Lane
    from engine.scheduling.pace import Permit
    from engine.scheduling.tally import Tally


class Setbacks:
    """Takes setbacks down to the lanes."""

    def __init__(self, tally: Tally, clock: Clock, log: FilteringBoundLogger) -> None:
        self._tally = tally
        self._clock = clock
        self._log = log

    def throttled(self, lane: Lane, permit: Permit, wait_s: float) -> None:
        """Take note of a 429: the lane waits ``wait_s`` and slows down."""
        lane.throttled(permit, wait_s)
        self._tally.note_throttle(self._clock.utc())
        self._log.info("throttled", lane=lane.name, wait_s=round(wait_s, 3), per_minute=round(lane.per_minute, 2))

    def unreachable(self, lane: Lane, reason: str) -> None:
        """Take note that the provider did not answer: the lane lets one request at a time try."""
        lane.unreachable(reason)
        self._log.warning("unreachable", lane=lane.name, reason=reason, wait_s=round(lane.open_in_s, 3))
