"""How long the engine takes to be there: the command's help, the import of the library, an empty interpreter beside.

.venv/bin/python -m tests.benchmarks.startup [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from tests.benchmarks.clients import measure
from tests.benchmarks.tables import print_table, write_json

CALLS = {
    "python -c pass": (["-c", "pass"], None),
    "engine --help": (["-m", "engine", "--help"], 0.25),
    "engine run --help": (["-m", "engine", "run", "--help"], 0.25),
    "import engine": (["-c", "import engine"], 0.3),
    "from engine import Run": (["-c", "from engine import Run"], 0.3),
    "import aiohttp": (["-c", "import aiohttp"], None),
    "import segmind": (["-c", "import segmind"], None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/startup.json"))
    asked = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in CALLS}
    for _ in range(asked.runs):
        for name, (options, _) in CALLS.items():
            found[name].append(measure([sys.executable, *options]).wall_s)
    rows = [
        {"call": name, "s (median)": round(statistics.median(times), 3), "goal s": CALLS[name][1] or ""}
        for name, times in found.items()
    ]
    print_table(rows)
    write_json(asked.json, {"benchmark": "startup", "rows": rows})


if __name__ == "__main__":
    main()
