"""Where job lines come from: a file or a pipe, as blocks of bytes.

Blocks, not lines: reading line by line through a thread costs a hundred times more. A pipe gives what it
has at once, so that a slow producer's first line is worked on before its second is written.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aiofiles.threadpool.binary import AsyncFileIO

from engine.disk.detached import run_detached
from engine.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BLOCK_BYTES = 256 * 1024


def recorded_name(path: Path) -> str:
    """Return how the ledger remembers a file: a name need not be UTF-8, but what is remembered of it has to be."""
    return str(path.absolute()).encode(errors="backslashreplace").decode()


class InputSource(Protocol):
    """Something that job lines can be read from, once, from its beginning.

    Attributes:
        continues: whether it holds only what this run has not read yet, instead of the whole input.
        directory: where relative names of files in its lines start.
    """

    continues: bool
    directory: Path

    @property
    def name(self) -> str:
        """How the source is named to people and remembered in the ledger."""
        ...

    def blocks(self) -> AsyncIterator[bytes]:
        """Yield the content in order; blocks are not empty."""
        ...


class FileSource:
    """A regular file."""

    continues = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.directory = path.absolute().parent
        self.name = recorded_name(path)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the file's content.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            # Opened here: a thread that opens for a caller who has left would leave the file open.
            with self._path.open("rb", buffering=0) as file:
                reading = AsyncFileIO(file, asyncio.get_running_loop(), None)
                while block := await reading.read(BLOCK_BYTES):
                    yield block
        except OSError as error:
            raise UsageError(
                f"the input {self._path} cannot be read ({error.strerror})",
                hint="name a file that is there and may be read",
            ) from error


class PipeSource:
    """An open file descriptor: standard input, a named pipe, a terminal."""

    continues = False

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.directory = Path.cwd()
        self.name = name

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield what the pipe has, as it has it.

        Raises:
            UsageError: it cannot be read.
        """
        while True:
            try:
                block = await run_detached("input-pipe", os.read, self._fd, BLOCK_BYTES)
            except OSError as error:
                raise UsageError(
                    f"{self.name} cannot be read ({error.strerror})",
                    hint="see whether the command before the | works by itself",
                ) from error
            if not block:
                return
            yield block
