"""Sabotage by hand: a table of every variant and whether its test noticed; exit code 1 if one went unseen.

::

    python -m tests.sabotage
    python -m tests.sabotage "no grace"
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.sabotage.harness import apply, copy_tree, try_out
from tests.sabotage.variants import VARIANTS


def main() -> None:
    """Try every variant whose name holds the words of the command line."""
    words = " ".join(sys.argv[1:])
    chosen = [variant for variant in VARIANTS if words in variant.name]
    caught = 0
    for variant in chosen:
        with tempfile.TemporaryDirectory() as directory:
            copy = copy_tree(Path(directory))
            apply(variant, copy)
            outcome = try_out(copy, variant.test)
        caught += outcome.caught
        verdict = "caught" if outcome.caught else "NOT CAUGHT"
        print(f"{verdict:<10} {outcome.wall_s:5.1f} s  {variant.name}  ({variant.promise})  {variant.test}", flush=True)
        if not outcome.caught:
            print(outcome.said)
    print(f"{caught} of {len(chosen)} caught")
    sys.exit(caught != len(chosen))


if __name__ == "__main__":
    main()
