"""What the pace makes of a limit: under 429s that come by chance, and below a limit that is not the plan's.

    .venv/bin/python -m tests.benchmarks.pace [--seeds 1000] [--json FILE]

Two hours on a clock of its own, at 60 a minute. By chance: the share of the plan that is sent, over the seeds; the
price of halving is bound to be paid, so what matters is the worst of a hundred. Another limit: the share of what the
server would have taken, and the 429s per accepted request.
"""

from __future__ import annotations

import argparse
import random
from collections import deque
from pathlib import Path
from typing import NamedTuple

from engine.scheduling.pace import WINDOW_S, Pace
from tests.benchmarks.tables import print_table, write_json

PER_MINUTE = 60.0
HOURS = 2
CHANCES = (0.01, 0.02, 0.05, 0.10)
LIMITS_PER_MINUTE = (20, 40, 55)
UNKNOWN_LIMITS_PER_MINUTE = (120, 1_000)
WARM_UP_S = 120.0


class HandClock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> float:
        return self.passed_s

    def utc(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds


class Use(NamedTuple):
    used: float
    refused_per_accepted: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/pace.json"))
    arguments = parser.parse_args()
    by_chance = [_chance_row(chance, arguments.seeds) for chance in CHANCES]
    limits = [_limit_row(limit, discover=False) for limit in LIMITS_PER_MINUTE]
    limits += [_limit_row(limit, discover=True) for limit in UNKNOWN_LIMITS_PER_MINUTE]
    print_table(by_chance)
    print_table(limits)
    write_json(arguments.json, {"by_chance": by_chance, "limits": limits})


def _chance_row(chance: float, seeds: int) -> dict[str, object]:
    shares = sorted(_share_sent(chance, random.Random(seed)) for seed in range(seeds))
    return {
        "429s by chance": f"{chance:.0%}",
        "worst": round(shares[0], 3),
        "worst of 100": round(shares[seeds // 100], 3),
        "median": round(shares[seeds // 2], 3),
    }


def _share_sent(chance: float, rng: random.Random) -> float:
    clock = HandClock()
    pace = Pace(PER_MINUTE, adaptive=True, discover=False, clock=clock)
    sent = 0
    while clock.passed_s < 3_600 * HOURS:
        permit = pace.permit(pressed=True)
        sent += 1
        (pace.throttled if rng.random() < chance else pace.accepted)(permit)
        clock.passed_s += 60 / pace.per_minute
    return sent / (60 * HOURS * PER_MINUTE)


def _limit_row(limit_per_minute: int, *, discover: bool) -> dict[str, object]:
    use = _use(limit_per_minute, discover=discover)
    return {
        "limit/min": limit_per_minute,
        "plan/min": "unknown" if discover else PER_MINUTE,
        "used": round(use.used, 4),
        "429s per accepted": round(use.refused_per_accepted, 5),
    }


def _use(limit_per_minute: int, *, discover: bool) -> Use:
    clock = HandClock()
    pace = Pace(PER_MINUTE, adaptive=True, discover=discover, clock=clock)
    taken: deque[float] = deque()
    accepted = refused = 0
    end_s = WARM_UP_S + 3_600 * HOURS
    while clock.passed_s < end_s:
        permit = pace.permit(pressed=True)
        while taken and taken[0] <= clock.passed_s - WINDOW_S:
            taken.popleft()
        counts = clock.passed_s >= WARM_UP_S
        if len(taken) < limit_per_minute:
            taken.append(clock.passed_s)
            pace.accepted(permit)
            accepted += counts
        else:
            pace.throttled(permit)
            clock.passed_s = taken[0] + WINDOW_S
            refused += counts
        clock.passed_s += 60 / pace.per_minute
    return Use(accepted / (60 * HOURS * limit_per_minute), refused / accepted)


if __name__ == "__main__":
    main()
