"""Simulated nights by hand: as many as asked for, one line of sums after every hundred.

::

    python -m tests.simulation --rounds 1000 --seed 1
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.night import simulate

COUNTED = ("processes", "cuts", "refusals", "paid", "unknown")


def main() -> None:
    """Let the nights pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began, sums = time.perf_counter(), Counter[str]()
    for round_ in range(options.rounds):
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            night = simulate(Path(directory), f"{options.seed}:{round_}", patch)
        sums.update({name: getattr(night, name) for name in COUNTED})
        if (round_ + 1) % 100 == 0 or round_ + 1 == options.rounds:
            wall_s = time.perf_counter() - began
            print(
                f"{round_ + 1} nights in {wall_s:.0f} s, seed {options.seed}: {dict(sums)}; every promise kept",
                flush=True,
            )


if __name__ == "__main__":
    main()
