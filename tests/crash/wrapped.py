"""``engine`` in a process that strikes itself at the Nth call that makes something durable.

Counted are, over all threads: every sync, rename, removal, shortening and new directory, every commit of the database,
its creation and its closing, each before and after; and every write to a file that is not the log, half way. The
process is killed there, or the call is refused as a failing or a full disk would refuse it. In one process and
without any privilege, so that it works wherever the engine does; what SQLite does inside a commit is
``syscalls.py``'s part. By hand::

    python -m tests.crash.wrapped kill 17 report.json run jobs.jsonl ...
"""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import sqlite3
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.console.cli import main as engine_main

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = ("fsync", "fdatasync", "rename", "replace", "link", "unlink", "ftruncate", "mkdir")
STATEMENTS = ("COMMIT", "BEGIN IMMEDIATE;", "PRAGMA JOURNAL_MODE")
"""A commit; the script that creates the tables, which commits too; what makes the file a database."""

SQLITE_SAYS = {"EIO": "disk I/O error", "ENOSPC": "database or disk is full"}
KILL = "kill"


class Striker:
    """Counts the calls, and strikes at one of them.

    Args:
        action: ``kill``, or the name of the error that the call is refused with. A full disk stays full.
        at: the ordinal of the call.
        report: where to write what was struck.
    """

    def __init__(self, action: str, at: int, report: Path) -> None:
        self._action = action
        self._at = at
        self._report = report
        self._lock = threading.Lock()
        self._write = os.write
        self._writev = os.writev
        self._kill = os.kill
        self._count = 0

    def before(self, call: str, name: str) -> None:
        """Count a call before it happens, and refuse it or die if it is its turn."""
        with self._lock:
            if not self._is_struck():
                return
            self._tell(f"before {call} {name}".rstrip())
            if self._action == KILL:
                self._kill(os.getpid(), signal.SIGKILL)
        if call == "sql":
            raise sqlite3.OperationalError(SQLITE_SAYS[self._action])
        number = getattr(errno, self._action)
        raise OSError(number, os.strerror(number))

    def after(self, call: str, name: str) -> None:
        """Count a call that has happened, and die if it is its turn; what has happened cannot be refused."""
        with self._lock:
            if self._action == KILL and self._is_struck():
                self._tell(f"after {call} {name}".rstrip())
                self._kill(os.getpid(), signal.SIGKILL)

    def write(self, fd: int, content: Any) -> int:
        """Write to a file, or half of it and die, or not at all."""
        self._within_write(fd, [content])
        return self._write(fd, content)

    def writev(self, fd: int, pieces: Any) -> int:
        """Like ``write``, of several pieces in one call."""
        self._within_write(fd, pieces)
        return self._writev(fd, pieces)

    def _within_write(self, fd: int, pieces: Any) -> None:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or (name := _name_of(fd)).endswith(".log"):
            return
        if self._action != KILL:
            self.before("write", name)
            return
        with self._lock:
            if self._is_struck():
                content = b"".join(pieces)
                self._write(fd, content[: len(content) // 2])
                self._tell(f"within write {name}")
                self._kill(os.getpid(), signal.SIGKILL)

    def ended(self) -> None:
        """Take down that the process ended by itself."""
        if self._count < self._at:
            self._tell("")

    def _is_struck(self) -> bool:
        self._count += 1
        return self._count == self._at or (self._action == "ENOSPC" and self._count > self._at)

    def _tell(self, where: str) -> None:
        if where and self._count != self._at:
            return  # the disk is still full; where it became so was told
        fd = os.open(self._report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._write(fd, json.dumps({"where": where, "count": self._count}).encode())
        os.close(fd)

    # --- what is counted --------------------------------------------------------------------------

    def watch(self) -> None:
        """Put the counter in the way of every call."""
        for call in CALLS:
            setattr(os, call, self._watched(call, getattr(os, call)))
        os.write = self.write
        os.writev = self.writev
        sqlite3.connect = functools.partial(sqlite3.connect, factory=self._connection())  # type: ignore[assignment]

    def _watched(self, call: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def watched(target: Any, *args: Any, **kwargs: Any) -> Any:
            name = _name_of(target)
            self.before(call, name)
            result = original(target, *args, **kwargs)
            self.after(call, name)
            return result

        return watched

    def _connection(self) -> type[sqlite3.Connection]:
        striker = self

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                return striker._statement(super().execute, sql, *args)

            def executescript(self, sql: str) -> sqlite3.Cursor:
                return striker._statement(super().executescript, sql)

            def close(self) -> None:
                if striker._action == KILL:
                    striker.before("sql", "close")
                super().close()
                striker.after("sql", "close")

        return Watched

    def _statement(self, original: Callable[..., sqlite3.Cursor], sql: str, *args: Any) -> sqlite3.Cursor:
        word = next((word for word in STATEMENTS if sql.upper().startswith(word)), "")
        if not word:
            return original(sql, *args)
        self.before("sql", word)
        cursor = original(sql, *args)
        self.after("sql", word)
        return cursor


def _name_of(target: Any) -> str:
    """Return what kind of file a call is about: its extension, or its name where it has none."""
    path = Path(f"/proc/self/fd/{target}") if isinstance(target, int) else Path(os.fspath(target))
    if isinstance(target, int):
        if not path.is_symlink():
            return ""
        path = path.readlink()
    known = path.suffix in (".part", ".mp4")
    return f"*{path.suffix}" if known else path.name


def main() -> None:
    """Run the engine with a counter in the way."""
    action, at, report, *words = sys.argv[1:]
    striker = Striker(action, int(at), Path(report))
    striker.watch()
    sys.argv = ["engine", *words]
    try:
        engine_main()
    finally:
        striker.ended()


if __name__ == "__main__":
    main()
