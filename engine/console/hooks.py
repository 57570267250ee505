"""Run a person's command when a run has ended: ``--on-finish`` and ``--on-stop``.

The command gets what the run came to in its environment, and never the key: the variable that held it is taken
out, and so is any other that has it in its value. What it prints goes to stderr, because stdout carries data only.
It has a bounded time, and nothing that becomes of it changes how the engine ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.console.messages import harmless, warn
from engine.errors import EngineError
from engine.ledger.schema import open_for_reading
from engine.ledger.survey import survey

if TYPE_CHECKING:
    from pathlib import Path

    from engine.disk.run_dir import RunDir
    from engine.ledger.survey import Survey

HOOK_S_MAX = 60.0
END_S_MAX = 2.0
"""A command that has to end gets so long to do it by itself."""
BROKEN = "error"
"""In place of a kind of stop: an error ended the run before it could close its books."""
STDERR_FD = 2
FIGURES = (
    "lines",
    "succeeded",
    "failed",
    "invalid",
    "unknown",
    "held",
    "in_flight",
    "remaining",
    "spent_usd",
    "reserved_usd",
    "media_bytes",
)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The commands of a person; None for none.

    Attributes:
        on_finish: for a run whose every job is at rest.
        on_stop: for a run that ended in any other way.
    """

    on_finish: str | None = None
    on_stop: str | None = None


NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, as far as is known.

    Attributes:
        directory: where it is.
        exit_code: how the engine will end.
        found: what the ledger says of it; None if that could not be read.
        output: where its result lines are; None if it did not get that far.
        summarised: whether ``summary.json`` tells of this ending.
        stopped_kind: one of the kinds of stop, or ``BROKEN``; empty for none.
        stopped_message: a sentence; empty for none.
    """

    directory: RunDir
    exit_code: int
    found: Survey | None
    output: Path | None
    summarised: bool
    stopped_kind: str
    stopped_message: str

    @property
    def finished(self) -> bool:
        """Whether every job is at rest, and no line is left unread."""
        return self.found is not None and self.found.is_finished


def surveyed(directory: RunDir) -> Survey | None:
    """Return what the ledger of a run that was closed says of it, or None if it cannot be read."""
    try:
        db = open_for_reading(directory.ledger)
        try:
            return survey(db)
        finally:
            db.close()
    except (EngineError, OSError, sqlite3.Error):
        return None


async def run_hook(hooks: Hooks, ending: Ending, *, inherited: dict[str, str], enough: asyncio.Event) -> None:
    """Run the command for this ending, if there is one, and warn of whatever is wrong with it.

    Args:
        hooks: the commands.
        ending: how the run ended.
        inherited: the environment, as ``without_key`` left it.
        enough: set to end the command at once.
    """
    flag, command = ("--on-finish", hooks.on_finish) if ending.finished else ("--on-stop", hooks.on_stop)
    if command is None:
        return
    own = variables(ending, event=flag.removeprefix("--on-"))
    try:
        # With a group of its own: what it starts ends with it, and a Ctrl-C for the engine is not one for it.
        process = await asyncio.create_subprocess_shell(
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=STDERR_FD,
            stderr=STDERR_FD,
            env={**inherited, **own},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        warn(f"the command of {flag} could not be started ({getattr(error, 'strerror', None) or error})")
        return
    problem = await _outcome(process, enough)
    if problem:
        warn(f"the command of {flag} {problem}; that changes nothing about the run")


def variables(ending: Ending, *, event: str) -> dict[str, str]:
    """Return what the command is told; FORMATS.md describes each. What is not known is empty."""
    figures = {name: "" if ending.found is None else _figure(getattr(ending.found, name)) for name in FIGURES}
    told = {
        "event": event,
        "exit_code": str(ending.exit_code),
        "run_dir": str(ending.directory.root.absolute()),
        "output": "" if ending.output is None else str(ending.output.absolute()),
        "summary": str(ending.directory.summary.absolute()) if ending.summarised else "",
        "stopped_kind": ending.stopped_kind,
        # A server may have had a part in it, and no terminal or mail should be steered by that.
        "stopped_message": harmless(ending.stopped_message),
        **figures,
    }
    return {f"ENGINE_{name.upper()}": text for name, text in told.items()}


def _figure(value: int | float) -> str:  # noqa: PYI041 (they are written differently)
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


async def _outcome(process: asyncio.subprocess.Process, enough: asyncio.Event) -> str:
    """Wait for the command within its time; return what was wrong with it, empty for nothing."""
    ended = asyncio.ensure_future(process.wait())
    asked = asyncio.ensure_future(enough.wait())
    try:
        await asyncio.wait({ended, asked}, timeout=HOOK_S_MAX, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return _complaint(ended.result())
        await _end(process, ended)
        return "was ended by a signal" if asked.done() else f"was ended after {HOOK_S_MAX:.0f} s"
    finally:
        asked.cancel()


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
    """End the command and all that is still in its group, first politely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        await asyncio.wait({ended}, timeout=END_S_MAX)


def _complaint(code: int) -> str:
    if code < 0:
        name = next((number.name for number in signal.Signals if number == -code), f"signal {-code}")
        return f"was ended by {name}"
    return f"ended with exit code {code}" if code else ""
