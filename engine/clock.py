"""The engine's only source of time.

Durations are differences of ``now()`` (monotonic seconds; a laptop's sleep or a changed clock cannot
turn them negative). What is stored is ``utc()`` (seconds since the epoch, UTC), because it must mean
the same after a restart. Both are injected, so that a test can let a night pass in a second.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

DAY_S = 86_400.0


class Clock(Protocol):
    """What the moving parts know of time."""

    def now(self) -> float:
        """Return monotonic seconds; equals ``loop.time()`` of the running loop."""
        ...

    def utc(self) -> float:
        """Return seconds since the epoch, UTC."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait for ``delay_s`` seconds of this clock."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()  # noqa: TID251 (this is the file that time comes from)

    def utc(self) -> float:
        """Return seconds since the epoch, UTC."""
        return time.time()  # noqa: TID251 (this is the file that time comes from)

    async def sleep(self, delay_s: float) -> None:
        """Wait for ``delay_s`` seconds."""
        await asyncio.sleep(delay_s)


def iso_utc(epoch_s: float) -> str:
    """Write a stored time the one way all our records do: ``2026-01-31T22:04:05.678Z``."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def local_words(epoch_s: float, *, seconds: bool = False) -> str:
    """Write a time for people, by the clock on their wall: ``07:00``, with the date if it is not within a day."""
    moment = datetime.fromtimestamp(epoch_s).astimezone()
    near = abs((moment - datetime.now().astimezone()).total_seconds()) < DAY_S
    time_of_day = "%H:%M:%S" if seconds else "%H:%M"
    return moment.strftime(time_of_day if near else f"%Y-%m-%d {time_of_day}")
