"""Simulated nights by hand: as many as asked for, one line of sums at the end.

::

    python -m tests.simulation --rounds 1000 --seed 1
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pytest

from tests.simulation.night import simulate


def main() -> None:
    """Let the nights pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began, nights = time.perf_counter(), []
    for round_ in range(options.rounds):
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            nights.append(simulate(Path(directory), f"{options.seed}:{round_}", patch))
    sums = {
        name: sum(getattr(night, name) for night in nights)
        for name in ("processes", "cuts", "refusals", "paid", "unknown")
    }
    print(
        f"{len(nights)} nights in {time.perf_counter() - began:.0f} s, seed {options.seed}: {sums}; every promise kept"
    )


if __name__ == "__main__":
    main()
