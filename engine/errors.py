"""Everything the engine raises on purpose, and how it ends the process.

::

    EngineError
    ├── UsageError            the command, the configuration or the input is wrong    exit 2
    │   └── ConfigError       one key of the configuration
    ├── StorageError          the disk or what is on it                               exit 4
    │   ├── LedgerError       the ledger is damaged, foreign or newer than we are
    │   └── OutputError       the output file is not what the ledger says we wrote
    ├── AccountError          the key or the credit                                   exit 5
    └── RunDirectoryBusyError another process works on this run                       exit 75

Each carries a sentence that says what happened and where, and a hint that says what to do.
What goes wrong with *one job* is not an exception but a value: ``engine.job.records.JobError``.
"""

from __future__ import annotations

import difflib
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """The exit codes of the command line; programs outside rely on them."""

    SUCCEEDED = 0
    SOME_FAILED = 1
    USAGE = 2
    STOPPED = 3
    STORAGE = 4
    ACCOUNT = 5
    BUSY = 75
    INTERRUPTED = 130
    TERMINATED = 143


class EngineError(Exception):
    """The whole run cannot go on; nothing that was recorded is lost.

    Attributes:
        hint: what the person at the keyboard can do now; may be empty.
        exit_code: how the process ends when nobody handles the error.
    """

    exit_code: ExitCode = ExitCode.STOPPED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(EngineError):
    """The command, the configuration or the input is wrong; nothing was submitted because of it."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """One key of the configuration is unknown or has a value that is not allowed."""


class StorageError(EngineError):
    """The disk is full, read-only or failing, or a file is not what it must be."""

    exit_code = ExitCode.STORAGE


class LedgerError(StorageError):
    """The ledger is damaged, foreign or newer than this version; it is never recreated silently."""


class OutputError(StorageError):
    """The output file was shortened, edited or replaced since the engine wrote it."""


class AccountError(EngineError):
    """The key is missing or refused, or the account has no credit left."""

    exit_code = ExitCode.ACCOUNT


class RunDirectoryBusyError(EngineError):
    """Another process works on this run directory."""

    exit_code = ExitCode.BUSY


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return ``", did you mean 'x'?"`` for the allowed word closest to ``word``, or an empty string."""
    matches = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f", did you mean {matches[0]!r}?" if matches else ""


def first_of(group: BaseExceptionGroup[EngineError]) -> EngineError:
    """Return one error of a group of tasks that failed together: they all ran into the same thing."""
    error = group.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error
