"""What a 429 or an outage means for a lane: it slows down or holds, it is counted, and the log says so.

Touches no job: whoever ran into it keeps its attempts, and a question that got no answer is asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from engine.scheduling.steps import AskAgain, SlowDown, StopRun, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.scheduling.agenda import Agenda
    from engine.scheduling.lane import Lane
    from engine.scheduling.pace import Permit
    from engine.scheduling.steps import NoAnswer
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally


class Setbacks:
    """Takes setbacks down to the lanes.

    Args:
        on_stop: called with a reason to stop the run.
    """

    def __init__(
        self, tally: Tally, *, agenda: Agenda, clock: Clock, log: FilteringBoundLogger, on_stop: Callable[[Stop], None]
    ) -> None:
        self._tally = tally
        self._agenda = agenda
        self._clock = clock
        self._log = log
        self._on_stop = on_stop

    def throttled(self, lane: Lane, permit: Permit, wait_s: float) -> None:
        """Take note of a 429: the lane waits ``wait_s`` and slows down."""
        lane.throttled(permit, wait_s)
        self._tally.note_throttle(self._clock.utc())
        self._log.info("throttled", lane=lane.name, wait_s=round(wait_s, 3), per_minute=round(lane.per_minute, 2))

    def unreachable(self, lane: Lane, reason: str) -> None:
        """Take note that the provider did not answer: the lane lets one request at a time try."""
        lane.unreachable(reason)
        self._log.warning("unreachable", lane=lane.name, reason=reason, wait_s=round(lane.open_in_s, 3))

    def ask_again(self, lane: Lane, permit: Permit, step: NoAnswer, again: Callable[[], None]) -> None:
        """Have a question asked again, by calling ``again``, when what came instead of an answer allows it."""
        match step:
            case AskAgain(delay_s):
                lane.accepted(permit)
                self._agenda.at(self._clock.now() + delay_s, again)
            case SlowDown(wait_s):
                self.throttled(lane, permit, wait_s)
                again()
            case Unreachable(reason):
                self.unreachable(lane, reason)
                again()
            case StopRun(stop):
                self._on_stop(stop)
            case _:
                assert_never(step)
