"""What the pace makes of a limit: under 429s that come by chance, and below a limit that is not the plan's.

    .venv/bin/python -m tests.benchmarks.pace [--seeds 1000] [--json FILE]

Two hours on a clock of its own, at 60 a minute. By chance: the share of the plan that is sent, over the seeds; the
price of halving is bound to be paid, so what matters is the worst of a hundred. Another limit: the share of what the
server would have taken, and the 429s per accepted request.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import NamedTuple

from engine.scheduling.pace import Pace
from tests.benchmarks.tables import print_table, write_json
from tests.scheduling.test_pace import use
from tests.virtual_clock import VirtualClock, run_virtual

PER_MINUTE = 60.0
HOURS = 2
CHANCES = (0.01, 0.02, 0.05, 0.10)
LIMITS_PER_MINUTE = (20, 40, 55)
UNKNOWN_LIMITS_PER_MINUTE = (120, 1_000)
WARM_UP_MINUTES = 2


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
    write_json(arguments.json, {"benchmark": "pace", "by_chance": by_chance, "limits": limits})


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
    uses: list[Use] = []
    run_virtual(_use(limit_per_minute, uses, discover=discover))
    return {
        "limit/min": limit_per_minute,
        "plan/min": "unknown" if discover else PER_MINUTE,
        "used": round(uses[0].used, 4),
        "429s per accepted": round(uses[0].refused_per_accepted, 5),
    }


async def _use(limit_per_minute: int, uses: list[Use], *, discover: bool) -> None:
    clock = VirtualClock()
    pace = Pace(PER_MINUTE, adaptive=True, discover=discover, clock=clock)
    await use(pace, clock, minutes=WARM_UP_MINUTES, limit_per_minute=limit_per_minute)
    accepted, refused = await use(pace, clock, minutes=60 * HOURS, limit_per_minute=limit_per_minute)
    uses.append(Use(accepted / (60 * HOURS * limit_per_minute), refused / accepted))


if __name__ == "__main__":
    main()
