"""The simulator's own source of time, because it shares nothing with the engine that it tests.

``now`` is monotonic seconds and decides everything; ``utc`` is what the server writes down. UTC is
anchored once and then advances with ``now``, so created times never go backwards and can be bisected.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the simulator's parts know of time."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def utc(self) -> float:
        """Return seconds since the epoch, UTC."""
        ...


class MachineClock:
    """The machine's clock; UTC advances with the monotonic one."""

    def __init__(self) -> None:
        self._utc_at_zero = time.time() - self.now()  # noqa: TID251 (as below)

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()  # noqa: TID251 (the simulator may not import the engine's clock)

    def utc(self) -> float:
        """Return seconds since the epoch, UTC."""
        return self._utc_at_zero + self.now()
