"""Write result lines: the output file is a projection of the ledger, exactly one line per input line.

Lines are appended and synced first; then one commit makes their jobs DONE and moves the mark up to which
the file is ours. After a crash whatever lies behind the mark is cut off and written again. A stream
(stdout) cannot be cut, so its lines get their ``seq`` in a commit of its own before they are printed: a
line that comes twice comes with the same number.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
from typing import TYPE_CHECKING, Any, Self

from engine.disk.detached import run_detached
from engine.disk.durable import PRIVATE_FILE_MODE, append, cut, replacement, sync_directory
from engine.errors import OutputError, UsageError
from engine.job.records import ResultLine, encode_line
from engine.ledger.ledger import OutputMark
from engine.output.result_lines import load_results, load_written, promised_jobs, unwritten_jobs, unwritten_run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from types import TracebackType

    from engine.ledger.ledger import Ledger

BATCH_LINES_MAX = 500
NO_ROOM_HINT = "free some space, then run the same command again; the output is cut back to its last whole line"
GATHER_S = 0.05
"""Outcomes of so long a time after a write share the next one; the first after a pause is written at once."""


class ResultWriter:
    """Appends the line of every job whose outcome is decided to one output file, and to a stream beside it.

    Args:
        path: the output file.
        shown_path: how the ledger remembers it: relative to the run directory where it lies inside.
        stream_fd: a file descriptor that gets every line too, or None.
        ordered: whether lines wait for the lines before them in the input.
        rebuild: whether to write the file anew from the ledger, whatever is there.
        on_written: called with each line that is at rest.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        path: Path,
        shown_path: str,
        stream_fd: int | None,
        ordered: bool,
        rebuild: bool,
        on_written: Callable[[ResultLine], None],
    ) -> None:
        self._ledger = ledger
        self._path = path.resolve()  # a link stays a link when the output is written anew
        self._stream_fd = stream_fd
        self._ordered = ordered
        self._rebuild = rebuild
        self._on_written = on_written
        self._fd = -1
        self._mark = OutputMark(shown_path, 0, 0, 0, "")
        self._next_job = 0
        self._owed = asyncio.Event()
        self.stream_broken = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open the output at the ledger's mark.

        Raises:
            OutputError: the file is shorter than the mark or was edited.
            UsageError: the file holds something that this run did not write.
        """
        if self._path.exists() and not self._path.is_file():
            raise UsageError(f"the output {self._path} is not a regular file", hint="-o - prints the lines to stdout")
        facts = await self._ledger.facts()
        if facts.get("output_path") != self._mark.path:
            await self._claim(moved=bool(facts.get("output_lines")))
        elif self._rebuild or facts.get("output_stale"):
            await self.rebuild()
        else:
            self._mark = OutputMark(*(facts[f"output_{name}"] for name in OutputMark._fields))
        self._fd = await asyncio.to_thread(self._open)
        if self._ordered:
            # What an unordered process had promised to a stream keeps its place; the order begins behind it.
            await self._write(await self._ledger.read(self._promised_results))
            self._next_job = await self._ledger.read(_first_unfinished)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def wake(self) -> None:
        """Say that a job's outcome was decided."""
        self._owed.set()

    async def run(self) -> None:
        """Write lines as outcomes are decided, until cancelled."""
        while True:
            await self._owed.wait()
            self._owed.clear()
            await self.write_owed()
            await asyncio.sleep(GATHER_S)

    async def write_owed(self) -> None:
        """Write every line that is owed now; a batch that was begun is ended even if the caller is cancelled."""
        while results := await self._ledger.read(self._next_results):
            await _to_its_end(self._write(results))
            self._next_job = results[-1][0] + 1

    async def rebuild(self) -> None:
        """Write the whole output anew from the ledger, and put it in place of what is there at once."""
        with replacement(self._path) as file:
            lines, next_seq, tail = 0, 0, b""
            while results := await self._ledger.read(_written_from(next_seq)):
                tail = b"".join(encode_line(result) for result in results)
                await asyncio.to_thread(file.write, tail)
                lines += len(results)
                next_seq = results[-1].seq + 1
            size_bytes = file.tell()
            # Before it has its name: a start after a kill must know it for ours, and writes it anew.
            await self._ledger.note(output_path=self._mark.path, output_stale=1)
        self._mark = OutputMark(self._mark.path, size_bytes, lines, len(tail), _digest(tail))
        await self._ledger.written((), self._mark)
        await self._ledger.note(output_stale=0)

    async def _claim(self, *, moved: bool) -> None:
        """Make an empty or absent file ours before its first byte; lines written elsewhere before come along."""
        if self._path.exists() and self._path.stat().st_size:
            raise UsageError(
                f"the output {self._path} already holds something that this run did not write",
                hint="name another file with -o, or move that one away",
            )
        if moved:
            await self.rebuild()
        else:
            await self._ledger.written((), self._mark)

    async def _write(self, results: list[tuple[int, ResultLine]]) -> None:
        if not results:
            return
        content = b"".join(encode_line(result) for _, result in results)
        places = [(job, result.seq) for job, result in results]
        if self._stream_fd is not None:
            await self._ledger.reserve_seq(places)
        await asyncio.to_thread(append, self._fd, content, name="the output", hint=NO_ROOM_HINT)
        await self._print(content)
        mark = OutputMark(
            self._mark.path,
            self._mark.bytes + len(content),
            self._mark.lines + len(results),
            len(content),
            _digest(content),
        )
        await self._ledger.written(places, mark)
        self._mark = mark
        for _, result in results:
            self._on_written(result)

    def _next_results(self, db: Any) -> list[tuple[int, ResultLine]]:
        if self._ordered:
            jobs = unwritten_run(db, first=self._next_job, limit=BATCH_LINES_MAX)
        else:
            jobs = unwritten_jobs(db, limit=BATCH_LINES_MAX)
        return load_results(db, jobs, first_seq=self._mark.lines)

    def _promised_results(self, db: Any) -> list[tuple[int, ResultLine]]:
        return load_results(db, promised_jobs(db), first_seq=self._mark.lines)

    async def _print(self, content: bytes) -> None:
        """Hand lines to the stream; a reader that went away ends the streaming, never the run's bookkeeping."""
        if self._stream_fd is None:
            return
        try:
            await run_detached("result-stream", _write_all, self._stream_fd, content)
        except OSError:
            self._stream_fd = None
            self.stream_broken.set()

    def _open(self) -> int:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        except OSError as error:
            raise UsageError(
                f"the output {self._path} cannot be opened ({error.strerror})", hint="name another file with -o"
            ) from error
        try:
            self._check(fd)
            sync_directory(self._path.parent)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _check(self, fd: int) -> None:
        """Hold the file against the mark; cut off what a crash left behind it."""
        size_bytes = os.fstat(fd).st_size
        mark = self._mark
        rebuild = "rebuild it from the ledger by adding --rebuild-output to the same command"
        if size_bytes < mark.bytes:
            raise OutputError(
                f"the output {self._path} has {size_bytes} of the {mark.bytes} bytes written: it was cut or replaced",
                hint=rebuild,
            )
        if mark.bytes and _digest(os.pread(fd, mark.tail_bytes, mark.bytes - mark.tail_bytes)) != mark.tail_sha256:
            raise OutputError(f"the output {self._path} was edited since the engine wrote it", hint=rebuild)
        if size_bytes > mark.bytes:
            cut(fd, mark.bytes)


async def _to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Await a step that must not be left half done: a cancellation is obeyed once it has ended."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _first_unfinished(db: Any) -> int:
    (job,) = db.execute("SELECT min(job) FROM job WHERE state <> 'done'").fetchone()
    if job is None:
        (job,) = db.execute("SELECT coalesce(max(job) + 1, 0) FROM job").fetchone()
    return int(job)


def _written_from(seq: int) -> Callable[[Any], list[ResultLine]]:
    return lambda db: load_written(db, first_seq=seq, limit=BATCH_LINES_MAX)


def _write_all(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            # A pipe that another program has made non-blocking is full, not broken.
            select.select([], [fd], [])
