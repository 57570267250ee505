"""What the ledger keeps of a run's weather: how many 429s came in each minute, over all its processes.

The report draws it; nothing is decided by it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.ledger.ledger import Ledger
    from engine.scheduling.tally import Tally

SAVE_S = 60.0
MINUTES_MAX = 14 * 24 * 60
"""Older minutes than so many are forgotten."""


class Chronicle:
    """Adds what this process counts to what earlier ones have recorded."""

    def __init__(self, ledger: Ledger, tally: Tally, clock: Clock) -> None:
        self._ledger = ledger
        self._tally = tally
        self._clock = clock
        self._earlier: Counter[int] = Counter()

    async def open(self) -> None:
        """Read what earlier processes recorded; what cannot be read is as good as nothing."""
        kept = (await self._ledger.facts()).get("throttles")
        if isinstance(kept, str):
            with contextlib.suppress(msgspec.DecodeError):
                self._earlier = Counter(msgspec.json.decode(kept, type=dict[int, int]))

    async def run(self) -> None:
        """Record it once a minute, until cancelled."""
        while True:
            await self._clock.sleep(SAVE_S)
            await self.save()

    async def save(self) -> None:
        """Record it, if there is anything to record."""
        counts = self._earlier + self._tally.throttled_in_minute
        if counts:
            kept = dict(sorted(counts.items())[-MINUTES_MAX:])
            await self._ledger.note(throttles=msgspec.json.encode(kept).decode())
