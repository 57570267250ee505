"""What the provider must remember, as JSON lines that a ``kill -9`` of its process cannot take back.

A line is one ``write`` to the kernel, done before anybody is told. Nothing is synced: the kernel outlives
the process, and a power cut may cost the simulator its memory. Lines are facts in the order in which they
came about; what follows from them (who had a worker when, what was billed) is worked out when they are
read. One process at a time holds the file. Knows nothing of jobs at work, money or HTTP.

    {"type":"start", ...}      a process began: its ports, its seed and its number of workers
    {"type":"submit", ...}     a job was accepted: all that was drawn for it
    {"type":"top_up", ...}     credits were added
    {"type":"staff", ...}      the number of workers changed
    {"type":"cancel", ...}     a job was cancelled, or its record deleted
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import msgspec

from engine.simulator.faults import Fault  # noqa: TC001 (msgspec reads the annotations at run time)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PRIVATE_FILE_MODE = 0o600  # bodies are whatever people generate
_LINE_BEGINS = b'{"type":"'


class JournalError(Exception):
    """The file cannot be used as the simulator's journal; the message says why."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    at_utc: float  # by the machine's clock; the scenario's clock_offset_s is added when it is shown


class Start(_Line, frozen=True, kw_only=True, tag="start"):
    """A process began to serve."""

    ports: tuple[int, int]  # of the API and of the output host; those of the first line are taken again
    seed: int  # for whoever reads the file: nothing in it is drawn a second time
    workers: int


class Submit(_Line, frozen=True, kw_only=True, tag="submit"):
    """A job was accepted; which submission of its body it is follows from the lines before."""

    request_id: str
    model: str
    body: msgspec.Raw  # canonical JSON
    attempt: int
    duration_s: float
    price_usd: float
    files_count: int
    faults: tuple[Fault, ...] = ()
    error: str | None = None


class TopUp(_Line, frozen=True, kw_only=True, tag="top_up"):
    """The balance was topped up."""

    amount_usd: float


class Staff(_Line, frozen=True, kw_only=True, tag="staff"):
    """The number of workers changed."""

    workers: int


class Cancel(_Line, frozen=True, kw_only=True, tag="cancel"):
    """A job was cancelled if it had not ended, and its record deleted if the vendor does that."""

    request_id: str
    charged: bool = False
    deleted: bool = False


Line = Start | Submit | TopUp | Staff | Cancel

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


class Journal:
    """The file: held from ``open`` to ``close``, read once, then appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._size_bytes = 0  # of the whole lines

    def open(self) -> None:
        """Take hold of the file, a new one if there is none.

        Raises:
            JournalError: another process holds it.
            OSError: it cannot be opened.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _PRIVATE_FILE_MODE)
        try:
            # Two simulators with one memory would each work on, and bill, the jobs of both.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise JournalError(f"the journal {self._path} is in use by another simulator") from None
        self._fd = fd

    def lines(self) -> Iterator[Line]:
        """Yield what was written so far; a torn last line is cut off, for nobody was told of it.

        Raises:
            JournalError: the file is damaged, or is something else.
        """
        assert self._fd is not None
        self._size_bytes = 0
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n") and _LINE_BEGINS.startswith(raw[: len(_LINE_BEGINS)]):
                    break
                try:
                    line = _decoder.decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise JournalError(f"line {number} of {self._path} is not the journal's: {error}") from error
                self._size_bytes += len(raw)
                yield line
        os.ftruncate(self._fd, self._size_bytes)

    def write(self, line: Line) -> None:
        """Append a line; when this returns, the end of this process cannot undo it.

        Raises:
            OSError: it could not be written, and the file is as before.
        """
        assert self._fd is not None
        raw = memoryview(_encoder.encode(line) + b"\n")
        left = raw
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            os.ftruncate(self._fd, self._size_bytes)  # or the next line would be part of this one
            raise
        self._size_bytes += len(raw)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
