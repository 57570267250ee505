"""What the ledger keeps of a run's weather: 429s minute by minute over all its processes, and how it stands just now.

For the report and for whoever looks from another terminal; nothing is decided by it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.ledger.ledger import Ledger
    from engine.scheduling.tally import Tally

SAVE_S = 60.0
LOOK_S = 2.0
MINUTES_MAX = 14 * 24 * 60
"""Older minutes than so many are forgotten."""


class Chronicle:
    """Adds what this process sees to what earlier ones have recorded.

    Args:
        tally: the figures of the run.
        waits_for: one sentence on what the run waits for.
        fleet: how the fleet does, in a few words.
    """

    def __init__(
        self,
        ledger: Ledger,
        tally: Callable[[], Tally],
        clock: Clock,
        *,
        waits_for: Callable[[], str],
        fleet: Callable[[], str] = str,
    ) -> None:
        self._ledger = ledger
        self._tally = tally
        self._clock = clock
        self._waits_for = waits_for
        self._fleet = fleet
        self._said = ("", "")
        self._earlier: Counter[int] = Counter()

    async def open(self) -> None:
        """Read what earlier processes recorded; what cannot be read is as good as nothing."""
        kept = (await self._ledger.facts()).get("throttles")
        if isinstance(kept, str):
            with contextlib.suppress(msgspec.DecodeError):
                self._earlier = Counter(msgspec.json.decode(kept, type=dict[int, int]))

    async def run(self) -> None:
        """Record what comes, until cancelled: 429s once a minute, the sentences whenever they have changed."""
        saved_at = self._clock.now()
        while True:
            await self._clock.sleep(LOOK_S)
            await self._say(self._waits_for(), self._fleet())
            if self._clock.now() - saved_at >= SAVE_S:
                saved_at = self._clock.now()
                await self._save_throttles()

    async def close(self) -> None:
        """Record what is left: this process waits for nothing any more, and has no fleet."""
        await self._say("", "")
        await self._save_throttles()

    async def _say(self, waits_for: str, fleet: str) -> None:
        if (waits_for, fleet) != self._said:
            self._said = (waits_for, fleet)
            await self._ledger.note(waits_for=waits_for, fleet=fleet)

    async def _save_throttles(self) -> None:
        counts = self._earlier + self._tally().throttled_in_minute
        if counts:
            kept = dict(sorted(counts.items())[-MINUTES_MAX:])
            await self._ledger.note(throttles=msgspec.json.encode(kept).decode())
