"""Finding an unknown limit: how much of it is used after the first minute, and how many 429s that costs.

    .venv/bin/python -m tests.benchmarks.discover [--seed 1] [--json FILE]

Whole runs on virtual time with one budget for every request. The provider counts requests in a sliding minute or in
the minutes of the clock, refuses what is too much, and says when it will take more. ``adaptive`` is true where the
configured limit is the provider's, and 'discover' where the engine begins with 50 and does not know.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.ledger.counts import count_jobs
from engine.provider.verdict import Throttled
from tests.benchmarks.tables import print_table, write_json
from tests.scheduling.conftest import World
from tests.virtual_clock import VirtualClock, run_virtual

if TYPE_CHECKING:
    from engine.clock import Clock

LIMITS = (60, 120, 600, 1_000)
MINUTES = 60
FIRST_PER_MINUTE = 50.0
DURATION_S = 60.0


class Window:
    """The provider's count of requests."""

    def __init__(self, limit: int, *, sliding: bool, clock: Clock) -> None:
        self.limit, self.sliding, self.clock = limit, sliding, clock
        self.taken: deque[float] = deque()
        self.admitted: list[float] = []
        self.refused: list[float] = []

    def verdict(self, _rng: random.Random) -> Any:
        now = self.clock.now()
        begin = now - 60 if self.sliding else now - now % 60
        while self.taken and (self.taken[0] <= begin if self.sliding else self.taken[0] < begin):
            self.taken.popleft()
        if len(self.taken) < self.limit:
            self.taken.append(now)
            self.admitted.append(now)
            return None
        self.refused.append(now)
        return Throttled(min(max((self.taken[0] if self.sliding else begin) + 60 - now, 1.0), 120.0))


def run_cell(limit: int, kind: str, mode: str, seed: int) -> dict[str, object]:
    figures: dict[str, object] = {}

    async def night(path: Path) -> None:
        clock = VirtualClock()
        world = World(
            path,
            clock,
            random.Random(seed),
            per_minute=float(limit) if mode == "known" else FIRST_PER_MINUTE,
            discover=mode != "known",
            shared=True,
            max_in_flight=2_000,
            expected_s=DURATION_S,
        )
        window = Window(limit, sliding=kind == "sliding", clock=clock)
        provider = world.provider
        provider.duration_s = DURATION_S
        provider.draw_submit = provider.draw_poll = provider.draw_fetch = window.verdict
        await (await world.with_jobs(limit * MINUTES // 3)).run()
        last_submit = provider.times("submit")[-1]
        within = [moment for moment in window.admitted if 60 <= moment < last_submit]
        refused = [moment for moment in window.refused if moment >= 60]
        counts = await world.ledger.read(count_jobs)
        figures.update(
            limit=limit,
            window=kind,
            mode=mode,
            jobs=counts["succeeded"],
            minutes=round(last_submit / 60, 1),
            used=round(len(within) / (limit * (last_submit - 60) / 60), 3),
            refused_first_minute=len(window.refused) - len(refused),
            refused_per_job=round(len(refused) / counts["succeeded"], 4),
        )
        world.ledger.close()

    with tempfile.TemporaryDirectory() as directory:
        run_virtual(night(Path(directory) / "run.db"))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/discover.json"))
    asked = parser.parse_args()
    cells = [*itertools.product(LIMITS, ("sliding", "fixed"), ("known", "unknown"))]
    with ProcessPoolExecutor(2) as pool:
        rows = [*pool.map(run_cell, *zip(*cells, strict=True), itertools.repeat(asked.seed))]
    print_table(rows)
    write_json(asked.json, {"benchmark": "discover", "seed": asked.seed, "rows": rows})


if __name__ == "__main__":
    main()
