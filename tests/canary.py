"""Search what the engine has written for the key it was given, in every form that a careless writer might use.

The key that all tests show the simulator is the canary: whatever a run directory, a log or a stream holds of it
would hold a real one. By hand, over any directory::

    python -m tests.canary DIRECTORY
"""

from __future__ import annotations

import base64
import sys
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.provider.api_key import SIMULATOR_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

LEDGER = "run.db"


class Hit(NamedTuple):
    """A file that holds the key, and in which form."""

    path: Path
    form: str


def forms(key: str) -> dict[str, bytes]:
    """Return the key in each form that is looked for."""
    plain = key.encode()
    found = {
        "plain": plain,
        "reversed": plain[::-1],
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "UTF-16": key.encode("utf-16-le"),
        "percent": "".join(f"%{byte:02X}" for byte in plain).encode(),
        "quoted": urllib.parse.quote(key, safe="").encode(),
        "without its prefix": plain[3:],
    }
    for shift in range(3):
        # Base64 of any text around the key has one of three cores, by where in a triple the key begins.
        encoded = base64.b64encode(b"\0" * shift + plain + b"\0" * (-(shift + len(plain)) % 3))
        found[f"base64, shifted by {shift}"] = encoded[(4 if shift else 0) : -4]
    return found


def hits(directory: Path, key: str = SIMULATOR_KEY) -> Iterator[Hit]:
    """Yield where the key stands below ``directory``."""
    looked_for = forms(key)
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            yield from (Hit(path, form) for form, text in looked_for.items() if text in content)


def hits_in_runs(directory: Path, key: str = SIMULATOR_KEY) -> Iterator[Hit]:
    """Yield where the key stands in the run directories below ``directory``; not in what tests wrote."""
    for ledger in sorted(directory.rglob(LEDGER)):
        yield from hits(ledger.parent, key)


if __name__ == "__main__":
    found = list(hits(Path(sys.argv[1])))
    print(*found, f"{len(found)} hits", sep="\n")
    sys.exit(bool(found))
