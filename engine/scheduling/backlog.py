"""How many jobs may be in flight so that all of them can be downloaded in time: measured while the line is full.

Whatever is in flight becomes a download. When results pile up, the rate at which they are stored is what the line can
do, and by Little's law what it stores within a share of the outputs' life is what may be on its way; with fewer, the
pile goes down again. A line that keeps up is not measured: the bound then grows, for it may have become wider.
Decides about numbers; knows nothing of who downloads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock

OUTPUT_LIFE_SHARE = 1 / 4
"""Share of the outputs' life within which everything in flight can be stored; the rest is for outages."""
LIFE_S_MAX = 4 * 3600.0
"""Outputs that live for weeks are no reason to let more pile up than this much time stores."""
WINDOW_S = 600.0
WINDOW_S_MIN = 60.0
"""A full line is looked at for so long before anything follows from it, and over so long at most."""
GROWTH_S = 120.0
"""While the line keeps up, the bound doubles in this time."""
PILE_PLACES = 2
"""So many results for each place are no pile: they are what keeps the places busy."""
STORED_MAX = 20_000


class Backlog:
    """The results that wait to be downloaded, and what follows from their number.

    Args:
        waiting: how many results are recorded and not stored, those being downloaded included.
        places: how many files are downloaded at the same time.
        life_s: how long the files of a result can be downloaded.
    """

    def __init__(self, *, waiting: Callable[[], int], places: Callable[[], int], life_s: float, clock: Clock) -> None:
        self._waiting = waiting
        self._places = places
        self._in_time_s = min(life_s, LIFE_S_MAX) * OUTPUT_LIFE_SHARE
        self._clock = clock
        self._stored: deque[float] = deque(maxlen=STORED_MAX)
        self._full_since: float | None = None
        self._measured: float | None = None
        self._looked_at = 0.0

    def __repr__(self) -> str:
        return f"<Backlog: {self._waiting()} wait, bound {self.bound}>"

    def stored(self) -> None:
        """Take note that the files of a result were stored."""
        self._stored.append(self._clock.now())
        self._look()

    @property
    def bound(self) -> int | None:
        """How many jobs may be in flight; None while the line has never been seen full, or has long kept up."""
        self._look()
        if self._measured is None:
            return None
        return max(PILE_PLACES * self._places(), int(self._measured))

    @property
    def reason(self) -> str:
        """What to say when the bound holds submissions up."""
        return (
            f"{self._waiting()} results wait to be downloaded; {self.bound} in flight are what the line stores in"
            f" {self._in_time_s / 60:.0f} min"
        )

    def _look(self) -> None:
        """Measure the line while it is full, and trust it more while it is not."""
        now, looked_at = self._clock.now(), self._looked_at
        self._looked_at = now
        if self._waiting() <= PILE_PLACES * self._places():
            self._full_since = None
            if self._measured is not None:
                self._measured *= 2 ** ((now - looked_at) / GROWTH_S)
                if self._measured > STORED_MAX:
                    self._measured = None
            return
        if self._full_since is None:
            self._full_since = now
        full_s = now - self._full_since
        if full_s >= WINDOW_S_MIN:
            window_s = min(full_s, WINDOW_S)
            while self._stored and self._stored[0] < now - window_s:
                self._stored.popleft()
            self._measured = len(self._stored) / window_s * self._in_time_s
