"""Which kind of input a path is: lines, a table, an array, a pipe."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from engine.disk.run_dir import RunDir
from engine.errors import UsageError
from engine.intake.source import FileSource, PipeSource
from engine.intake.table_source import TABLES, ArraySource, TableSource

if TYPE_CHECKING:
    from engine.intake.source import InputSource

ARRAY_LOOK_BYTES = 4096


def open_input(path: Path) -> InputSource:
    """Return the source for a path that exists: a file, or anything that reads like a pipe.

    Raises:
        UsageError: there is nothing readable at ``path``.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"the input {path} is a directory", hint=_directory_hint(path))
        if stat.S_ISREG(mode):
            return _regular(path)
        return PipeSource(os.open(path, os.O_RDONLY | os.O_CLOEXEC), str(path))
    except OSError as error:
        raise UsageError(
            f"the input {path} cannot be read ({error.strerror})",
            hint="name a file of job lines (JSONL), or - for stdin",
        ) from error


def _directory_hint(path: Path) -> str:
    if RunDir(path).ledger.is_file():
        return f"it is a run; go on with it: engine resume {shlex.quote(str(path))}"
    return "name a file of job lines (JSONL), or - for stdin"


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
