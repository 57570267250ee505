"""Decide when each request is asked about again: one heap, one timer.

Many flights wait here at once, each with the moment it is due; a single timer of the event loop is set for
the earliest. Knows nothing of HTTP or of jobs: it calls back and forgets.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Agenda:
    """Calls back at given moments of the loop's clock, in order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._fires_at = math.inf

    def __repr__(self) -> str:
        return f"<Agenda: {len(self._entries)} entries>"

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Call back at ``moment`` (monotonic seconds), or in the next turn of the loop if that has passed."""
        heapq.heappush(self._entries, (moment, next(self._order), call))
        if self._timer is None or moment < self._fires_at:
            self._set_timer()

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._entries:
            self._fires_at = self._entries[0][0]
            self._timer = self._loop.call_at(self._fires_at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            while self._entries and self._entries[0][0] <= now:
                heapq.heappop(self._entries)[-1]()
        finally:  # one entry that breaks must not silence the others
            if self._timer is None:
                self._set_timer()
