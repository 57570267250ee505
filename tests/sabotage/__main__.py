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
    """Try every variant whose name holds the words of the command line, after its test in an untouched copy."""
    words = " ".join(sys.argv[1:])
    chosen = [variant for variant in VARIANTS if words in variant.name]
    if not _is_green_untouched([variant.test for variant in chosen]):
        sys.exit(1)
    caught = 0
    for variant in chosen:
        with tempfile.TemporaryDirectory() as directory:
            copy = copy_tree(Path(directory))
            apply(variant, copy)
            outcome = try_out(copy, [variant.test])
        is_caught = outcome.catches(variant.test)
        caught += is_caught
        verdict = "caught" if is_caught else "NOT CAUGHT"
        print(f"{verdict:<10} {outcome.wall_s:5.1f} s  {variant.name}  ({variant.promise})  {variant.test}", flush=True)
        if not is_caught:
            print(outcome.failed.get(variant.test, ""), outcome.said, sep="\n")
    print(f"{caught} of {len(chosen)} caught")
    sys.exit(caught != len(chosen))


def _is_green_untouched(tests: list[str]) -> bool:
    """Tell whether the tests pass where nothing was sabotaged; a test that is red anyway catches nothing."""
    with tempfile.TemporaryDirectory() as directory:
        outcome = try_out(copy_tree(Path(directory)), sorted(set(tests)))
    if not outcome.is_green(tests):
        print("red without any sabotage:", outcome.said, sep="\n")
        return False
    print(f"{len(set(tests))} tests are green without any sabotage ({outcome.wall_s:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    main()
