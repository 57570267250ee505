"""Run one run in the foreground: signals, progress, and the closing words.

The first Ctrl-C (or SIGTERM) stops submitting and harvests what is paid for; the second stops within two
seconds with the state durable; the third ends the process where it stands, as ``kill -9`` would.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from typing import TYPE_CHECKING

from engine.console.messages import harmless, say, say_hint, warn
from engine.console.progress import Progress
from engine.console.words import duration_words
from engine.errors import ExitCode
from engine.ledger.input_source import recorded_input
from engine.run import STREAM_BROKEN, Run
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from engine.run import RunRequest

_EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.TERMINATED,  # the terminal went away: harvest, rather than die with replies under way
}
LAST_WORDS_S = 1.8
"""A second signal promises an end within two seconds, whatever still blocks then (a pipe that nobody reads)."""
CAUSES_SHOWN_MAX = 5
WARNINGS_SHOWN_MAX = 5


def conduct(request: RunRequest, *, quiet: bool, show_progress: bool) -> int:
    """Work on a run until it ends; return the exit code.

    Raises:
        EngineError: the run could not be opened or could not go on.
    """
    return asyncio.run(_conduct(request, quiet=quiet, show_progress=show_progress))


async def _conduct(request: RunRequest, *, quiet: bool, show_progress: bool) -> int:
    async with Run(request) as run:
        _install_signals(run)
        if request.reopen is not None:
            _say_reopened(run)
        written_before = run.tally.written
        async with Progress(run, shown=show_progress):
            await run.work()
        _say_end(run, quiet=quiet, worked=run.tally.written > written_before)
        return int(run.exit_code)


def _install_signals(run: Run) -> None:
    loop = asyncio.get_running_loop()
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1:
            stop = Stop(
                "interrupted", f"stopped by {number.name}", _EXIT_CODES[number], Manner.HARVEST, _resume_command(run)
            )
            run.request_stop(stop)
            say()
            say(f"{number.name}: {_harvest_words(run)}")
        elif len(received) == 2:  # noqa: PLR2004 (the second signal)
            run.request_stop(Stop("interrupted", f"stopped by {number.name}", _EXIT_CODES[number], Manner.NOW))
            loop.call_later(LAST_WORDS_S, os._exit, int(_EXIT_CODES[number]))
        else:
            os._exit(int(_EXIT_CODES[number]))

    for number in _EXIT_CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants a lost terminal to be ignored
            loop.add_signal_handler(number, on_signal, number)


def _say_reopened(run: Run) -> None:
    again = run.reopened
    if not (again.submit or again.download or again.left):
        say("nothing to try again: no job that is at rest is as asked")
        return
    say(f"trying again: {again.submit} jobs to submit, {again.download} to download")
    if again.left:
        warn(f"{again.left} jobs were paid for and have no file left to ask for; --pay-again submits them again")


def _harvest_words(run: Run) -> str:
    """Say how many paid jobs are still brought home before the run ends, and how long that may take."""
    in_flight, harvest_s = run.tally.in_flight, run.harvest_s
    if not in_flight:
        return "stopping; nothing is in flight."
    time = f", about {duration_words(harvest_s)}" if harvest_s and harvest_s >= 1 else ""  # overdue is no estimate
    return (
        f"no new submissions; {in_flight} jobs in flight are harvested first{time}."
        " Once more stops at once; they stay resumable."
    )


def _resume_command(run: Run) -> str:
    return f"go on with: engine resume {shlex.quote(str(run.directory.root))}"


def _say_end(run: Run, *, quiet: bool, worked: bool) -> None:
    """Account for every line, say why if the run stopped early, and what to do next."""
    found = run.result
    finished = run.exit_code in {ExitCode.SUCCEEDED, ExitCode.SOME_FAILED}
    if not quiet:
        _say_warnings(run)
        for cause in found.causes[:CAUSES_SHOWN_MAX]:
            who = f"line {cause.example_line}" + (f", {cause.example_id!r}" if cause.example_id else "")
            warn(f"{cause.jobs} {cause.status} ({cause.kind}), for example {who}: {cause.example_message}")
        if finished and not worked:
            say("nothing was left to do" if found.lines else "the input holds no job line")
    if run.stop is not None and not finished:
        warn(f"stopped early: {run.stop.message}")
    elif run.stop is not None and run.stop.kind == STREAM_BROKEN.kind:
        warn(f"{run.stop.message}; every line is in {run.output}")
    say(_accounts(run))
    if not finished:
        say_hint(run.stop.hint if run.stop else "", _what_is_left(run))


def _say_warnings(run: Run) -> None:
    for text, (lines, first_line) in list(run.warnings.items())[:WARNINGS_SHOWN_MAX]:
        warn(f"{text} (line {first_line}" + (f" and {lines - 1} more)" if lines > 1 else ")"))


def _accounts(run: Run) -> str:
    found = run.result
    parts = [
        f"{found.succeeded} succeeded",
        f"{found.failed} failed",
        f"{found.invalid} invalid",
        f"{found.unknown} unknown" if found.unknown else "",
        f"{found.held} held" if found.held else "",
        f"{found.in_flight} in flight" if found.in_flight else "",
        f"{found.remaining} remaining" if found.remaining else "",
    ]
    return (
        f"{found.lines} lines: {', '.join(filter(None, parts))}; "
        f"${found.spent_usd:,.2f} spent{_reserved_words(found.reserved_usd)}, {found.media_bytes / 1e6:,.1f} MB in "
        f"{harmless(str(run.directory.root))}"
    )


def _reserved_words(reserved_usd: float) -> str:
    return f" and ${reserved_usd:,.2f} reserved" if reserved_usd else ""


def _what_is_left(run: Run) -> str:
    found = run.result
    if found.unknown:
        price = f", ${found.at_risk_usd:,.2f} at risk" if found.at_risk_usd is not None else ""
        return f"{found.unknown} submissions have an unknown outcome{price}; they are never submitted again blindly"
    if not found.input_complete and recorded_input(found.input) is None:
        return "the input was not read to its end: for the rest, give the whole input to 'engine run' again"
    if run.stop is None or "engine resume" not in run.stop.hint:
        return _resume_command(run)
    return ""
