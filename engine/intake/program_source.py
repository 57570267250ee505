"""Job lines that a program hands in one by one, instead of a file: an input that grows while the run works.

It holds only what is new, so that a run which is opened again need not be given every earlier job a second time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LINES_AT_ONCE_MAX = 500


class ProgramSource:
    """See ``InputSource``; lines are put in from the same event loop."""

    name = "jobs given by a program"
    continues = True

    def __init__(self) -> None:
        self.directory = Path.cwd()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def __len__(self) -> int:
        return self._lines.qsize()

    def put(self, line: bytes) -> None:
        """Hand in one line, without its newline."""
        self._lines.put_nowait(line)

    def end(self) -> None:
        """Say that there are no more lines."""
        self._lines.put_nowait(None)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield what was handed in, as it comes: one commit takes in all that waits."""
        while True:
            lines = [await self._lines.get()]
            while not self._lines.empty() and len(lines) < LINES_AT_ONCE_MAX:
                lines.append(self._lines.get_nowait())
            if block := b"".join(line + b"\n" for line in lines if line is not None):
                yield block
            if None in lines:
                return
