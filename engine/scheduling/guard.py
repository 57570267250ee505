"""A defect in one job's step sets that job aside; it does not end the night. The same five times does."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from engine.errors import EngineError, ExitCode
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from engine.job.flight import Flight
    from engine.scheduling.life import Life
    from engine.scheduling.steps import SetAside

INTERNAL_ERRORS_MAX = 5

_Step = TypeVar("_Step")


class Guard:
    """Makes steps.

    Args:
        on_stop: called with the reason once too many steps broke.
    """

    def __init__(self, life: Life, *, log: FilteringBoundLogger, on_stop: Callable[[Stop], None]) -> None:
        self._life = life
        self._log = log
        self._on_stop = on_stop
        self._broken = 0

    async def make(self, flight: Flight, step: Awaitable[_Step]) -> _Step | SetAside:
        """Make a step and return what it came to.

        Raises:
            EngineError: the disk failed; that is not one job's matter.
        """
        try:
            return await step
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it belongs to one job)
            name = type(error).__name__
            self._log.error("internal_error", id=flight.id, error=name)
            self._broken += 1
            if self._broken >= INTERNAL_ERRORS_MAX:
                message = f"{self._broken} steps broke unexpectedly, the last with {name}"
                self._on_stop(Stop("internal", message, ExitCode.STOPPED, Manner.HARVEST, "report it with run.log"))
            return await self._life.hold(flight, f"a step broke unexpectedly: {name}")
