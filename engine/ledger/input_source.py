"""Where job lines come from: a file or a pipe, as blocks of bytes.

Blocks, not lines: reading line by line through a thread costs a hundred times more. A pipe gives what it
has at once, so that a slow producer's first line is worked on before its second is written.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiofiles

from engine.errors import UsageError
from engine.ledger.detached import run_detached
from engine.ledger.table_source import TABLES, ArraySource, TableSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BLOCK_BYTES = 256 * 1024
ARRAY_LOOK_BYTES = 4096


class InputSource(Protocol):
    """Something that job lines can be read from, once, from its beginning.

    Attributes:
        continues: whether it holds only what this run has not read yet, instead of the whole input.
    """

    continues: bool

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
        # A name need not be UTF-8, but what the ledger remembers of it has to be.
        self.name = str(path.absolute()).encode(errors="backslashreplace").decode()

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the file's content.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            async with aiofiles.open(self._path, "rb", buffering=0) as file:
                while block := await file.read(BLOCK_BYTES):
                    yield block
        except OSError as error:
            raise UsageError(
                f"the input {self._path} cannot be read ({error.strerror})", hint="check the path and its permissions"
            ) from error


class PipeSource:
    """An open file descriptor: standard input, a named pipe, a terminal."""

    continues = False

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
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
                raise UsageError(f"{self.name} cannot be read ({error.strerror})", hint="check the pipe") from error
            if not block:
                return
            yield block


def open_input(path: Path) -> InputSource:
    """Return the source for a path that exists: a file, or anything that reads like a pipe.

    Raises:
        UsageError: there is nothing readable at ``path``.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(
                f"the input {path} is a directory", hint="name a file of job lines (JSONL), or - for stdin"
            )
        if stat.S_ISREG(mode):
            return _regular(path)
        return PipeSource(os.open(path, os.O_RDONLY | os.O_CLOEXEC), str(path))
    except OSError as error:
        raise UsageError(
            f"the input {path} cannot be read ({error.strerror})",
            hint="name a file of job lines (JSONL), or - for stdin",
        ) from error


def recorded_input(name: str | None) -> InputSource | None:
    """Return the source that a run remembers by ``name``, if it is a file that is still there.

    Raises:
        UsageError: it is there, and is no longer what it was.
    """
    path = Path(name) if name else None
    return _regular(path) if path is not None and path.is_file() else None


def _regular(path: Path) -> InputSource:
    """Return the source for a regular file: a table by its name, an array by its first character, else lines."""
    if path.suffix.lower() in TABLES:
        return TableSource(path)
    with path.open("rb") as file:
        is_array = path.suffix.lower() == ".json" and file.read(ARRAY_LOOK_BYTES).lstrip().startswith(b"[")
    return ArraySource(path) if is_array else FileSource(path)
