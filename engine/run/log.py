"""The log of a run: one JSON object a line in ``run.log``, written by a thread.

Events are constants and everything variable is a value beside them, so that no id or prompt can forge a
line. Tracebacks and local variables are never rendered, because they could hold the key. A disk that
stalls must not stall the loop: lines go through a queue, and what no longer fits into it is counted.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import re
import threading
from typing import TYPE_CHECKING, Any, Self

import orjson
import structlog

from engine.clock import iso_utc
from engine.disk.durable import PRIVATE_FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

    from engine.clock import Clock

QUEUED_LINES_MAX = 10_000
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
REDACTED = "[key]"
CLOSE_S = 2.0
GATHER_S = 0.02
"""Lines of so long a time are written together: each write of its own would take the interpreter from the loop."""
NEWLINE = 0x0A
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_STEERING = re.compile(
    r"[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What JSON may hold as it is, but what steers a terminal that the log is shown on: deletes, C1, bidi, tags."""


class RunLog:
    """Opens the log of a run directory; a context manager whose ``logger`` writes to it.

    Args:
        path: the file; lines are appended.
        secrets: texts that are replaced wherever they would appear.
        on_full: called once, by the log's thread, when the disk has no room for a line.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        level: str = "info",
        secrets: tuple[str, ...] = (),
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._level = LEVELS[level]
        self._secrets = [orjson.dumps(secret)[1:-1] for secret in secrets if secret]  # as they stand inside JSON
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._on_full = on_full
        self._is_full = False
        self._dropped = 0
        self._ends_in_newline = True
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = os.open(
            self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE_MODE
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.put(None)
        self._ending.set()
        self._thread.join(timeout=CLOSE_S)
        if not self._thread.is_alive():  # else it hangs in a write, and its descriptor must not become another file's
            os.close(self._fd)

    @property
    def logger(self) -> FilteringBoundLogger:
        """A logger bound to this file."""
        logger: FilteringBoundLogger = structlog.wrap_logger(
            structlog.ReturnLogger(),  # never called; without one structlog would reach for stdout
            processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, self._emit],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
            cache_logger_on_first_use=True,
        )
        return logger

    def _emit(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        record: dict[str, Any] = {"utc": iso_utc(self._clock.utc()), "level": event.pop("level"), **event}
        line = _encoded(record)
        for secret in self._secrets:
            line = line.replace(secret, REDACTED.encode())
        if self._lines.qsize() < QUEUED_LINES_MAX:
            self._lines.put(line)
        else:
            self._dropped += 1
        raise structlog.DropEvent

    def _work(self) -> None:
        while lines := self._gather():
            # A log that cannot be written must not break the run that it reports on.
            try:
                self._append(lines)
                if self._dropped:
                    self._report_dropped()
            except OSError as error:
                if error.errno in NO_ROOM and not self._is_full:
                    self._is_full = True
                    self._on_full()
            self._ending.wait(GATHER_S)

    def _report_dropped(self) -> None:
        """Say how many lines were lost; what cannot be said now is said later."""
        dropped = self._dropped
        try:
            self._append([orjson.dumps({"event": "log_lines_dropped", "lines": dropped}) + b"\n"])
        except OSError:
            self._dropped -= 1  # the report itself is no event
            raise
        self._dropped -= dropped

    def _gather(self) -> list[bytes]:
        """Wait for a line, and take those behind it along; nothing at the end."""
        lines = list[bytes]()
        while (line := self._lines.get()) is not None:
            lines.append(line)
            if self._lines.empty():
                return lines
        if lines:
            self._lines.put(None)
        return lines

    def _append(self, lines: list[bytes]) -> None:
        """Write lines, or raise ``OSError``; what a full disk left of the line before is closed first."""
        content = b"".join(lines) if self._ends_in_newline else b"\n" + b"".join(lines)
        written = 0
        try:
            written = os.write(self._fd, content)
            if written < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            if written:
                self._ends_in_newline = content[written - 1] == NEWLINE
            whole = len(lines) if written == len(content) else content[:written].lstrip(b"\n").count(b"\n")
            self._dropped += len(lines) - whole


def _encoded(record: dict[str, Any]) -> bytes:
    """Return a record as one line; what JSON cannot hold (the name of a file that is no text) is spelled in ASCII."""
    try:
        line = orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        spelled = {name: ascii(value) for name, value in record.items()}
        return orjson.dumps(spelled, option=orjson.OPT_APPEND_NEWLINE)
    return line if line.isascii() and b"\x7f" not in line else _STEERING.sub(_as_json, line.decode()).encode()


def _as_json(found: re.Match[str]) -> str:
    """Return a character as JSON spells it in ASCII; the record means the same."""
    return json.dumps(found[0])[1:-1] if not found[0].isascii() else f"\\u{ord(found[0]):04x}"
