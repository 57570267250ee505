"""A file by which a worker knows the storage: whoever can read in it what the coordinator wrote sees the same disk."""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from engine.media.part import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def marked(directory: Path) -> Iterator[tuple[str, str]]:
    """Keep a marker in a directory while the block lasts; yield its name and what it holds. Blocks for a moment.

    It is named like a part, so that one which a killed process left is swept away with the parts.
    """
    marker, text = directory / f"engine-fleet-{secrets.token_hex(8)}{SUFFIX}", secrets.token_hex(16)
    marker.write_text(text, encoding="ascii")
    try:
        yield marker.name, text
    finally:
        with suppress(OSError):
            marker.unlink()
