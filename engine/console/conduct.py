"""Run one run in the foreground: signals, progress, the closing words, and the person's command after them.

The first Ctrl-C (or SIGTERM) stops submitting and harvests what is paid for; the second stops within two
seconds with the state durable; the third ends the process where it stands, as ``kill -9`` would. With
``--cancel-on-stop`` the second first has the provider cancel what is in flight, for a few seconds at most.
A command of ``--on-finish`` or ``--on-stop`` runs once the run is closed and its lock is free; a signal ends
it, and after a second one it does not begin.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

from engine.clock import SystemClock
from engine.connection import environment_without_keys
from engine.console.event_loop import run_to_end
from engine.console.hooks import BROKEN, NO_HOOKS, Ending, Hooks, run_hook, surveyed
from engine.console.messages import harmless, say, say_error, say_hint, warn
from engine.console.progress import Progress
from engine.console.words import duration_words
from engine.errors import EngineError, ExitCode
from engine.intake.kinds import recorded_input
from engine.job.counted import agreeing, counted
from engine.job.money import usd_words
from engine.ledger.reopening import Reopened
from engine.run.run import Run
from engine.run.stops import STREAM_BROKEN
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from engine.config import RunConfig
    from engine.console.dashboard import Dashboard
    from engine.run.request import RunRequest


_EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.TERMINATED,  # the terminal went away: harvest, rather than die with replies under way
}
LAST_WORDS_S = 1.8
"""A second signal promises an end within two seconds, whatever still blocks then (a pipe that nobody reads)."""
CANCEL_S_MAX = 10.0
"""So long does a second signal with ``--cancel-on-stop`` wait for what is in flight to be cancelled."""
CAUSES_SHOWN_MAX = 5
WARNINGS_SHOWN_MAX = 5


def conduct(
    request: RunRequest,
    *,
    quiet: bool,
    show_progress: bool,
    hooks: Hooks = NO_HOOKS,
    dashboard_port: int | None = None,
    cancel_on_stop: bool = False,
) -> int:
    """Work on a run until it ends; return the exit code.

    Args:
        request: what is asked.
        quiet: whether nothing but errors and the last line is said.
        show_progress: whether progress is shown.
        hooks: the person's commands after the run.
        dashboard_port: where the report's page is served live; None for nowhere.
        cancel_on_stop: whether a second signal first cancels what is in flight.

    Raises:
        EngineError: the run could not be opened or could not go on.
    """
    signals = _Signals(cancel_on_stop=cancel_on_stop)
    work = _conduct(
        request, signals, quiet=quiet, show_progress=show_progress, hooks=hooks, dashboard_port=dashboard_port
    )
    try:
        return run_to_end(work)
    except KeyboardInterrupt:
        if signals.were_given_to_a_run:
            raise
        say("SIGINT: stopped before anything was submitted; the same command goes on")
        return ExitCode.INTERRUPTED


async def _conduct(
    request: RunRequest,
    signals: _Signals,
    *,
    quiet: bool,
    show_progress: bool,
    hooks: Hooks,
    dashboard_port: int | None,
) -> int:
    run = Run(request)
    inherited: dict[str, str] | None = None
    try:
        async with run, _metrics(run, request.config) as metrics_url, _dashboard(run, dashboard_port) as dashboard:
            signals.install(run)
            if dashboard is not None:
                say(f"dashboard: {dashboard.url}")
            if metrics_url and not quiet:
                say(f"metrics: {metrics_url}")
            if request.reopen is not None:
                _say_reopened(run)
            written_before = run.tally.written
            if hooks != NO_HOOKS:
                inherited = environment_without_keys(request.config)
            async with Progress(run, shown=show_progress):
                await run.work()
            _say_end(run, quiet=quiet, worked=run.tally.written > written_before)
    except Exception as error:
        if inherited is None:
            raise
        code = _code_of(error)
        if isinstance(error, EngineError):
            say_error(error)  # what the command prints comes after it
        await _run_hook(hooks, signals, inherited, _ending_by(error, run, code))
        if isinstance(error, EngineError):
            return code
        raise
    if inherited is not None:
        await _run_hook(hooks, signals, inherited, _ending(run))
    return int(run.exit_code)


def _metrics(run: Run, config: RunConfig) -> AbstractAsyncContextManager[str]:
    """Serve the figures of a run if that is asked for; the address is empty if not."""
    host, port = config.metrics.host, config.metrics.port
    if port is None:
        return nullcontext("")
    from engine.console.metrics import serving  # noqa: PLC0415 (a server and its libraries, which few runs need)

    return serving(run, host=host, port=port)


def _dashboard(run: Run, port: int | None) -> AbstractAsyncContextManager[Dashboard | None]:
    """Serve the report's page live if that is asked for."""
    if port is None:
        return nullcontext(None)
    from engine.console.dashboard import Dashboard  # noqa: PLC0415 (a server and its libraries, which few runs need)

    return Dashboard(run.directory, port=port, clock=SystemClock())


def _code_of(error: Exception) -> int:
    """Return the exit code that an error leads to; see ``cli.main``."""
    match error:
        case EngineError():
            return int(error.exit_code)
        case OSError():
            return int(ExitCode.STORAGE)
        case _:
            return 1  # the interpreter's own


class _Signals:
    """What signals do, which depends on how many came and on whether the run is still at work."""

    def __init__(self, *, cancel_on_stop: bool) -> None:
        self._cancel_on_stop = cancel_on_stop
        self._received: list[signal.Signals] = []
        self._run: Run | None = None
        self.were_given_to_a_run = False
        self.enough = asyncio.Event()
        """Set by a signal that comes when the run is closed: whatever still goes on is to end."""

    def install(self, run: Run) -> None:
        """Give the signals to an open run."""
        self._run, self.were_given_to_a_run = run, True
        for number in _EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants a lost terminal to be ignored
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)

    def run_is_closed(self) -> None:
        """Take the signals from the run."""
        self._run = None

    @property
    def in_haste(self) -> bool:
        """Whether the process has to end within two seconds."""
        return len(self._received) > 1

    def _on_signal(self, number: signal.Signals) -> None:
        if self._run is None and not self.in_haste:
            self.enough.set()
            return
        self._received.append(number)
        if len(self._received) > 2 or self._run is None:  # noqa: PLR2004 (the third signal)
            os._exit(int(_EXIT_CODES[number]))
        elif len(self._received) == 1:
            self._harvest(self._run, number)
        elif self._cancel_on_stop and self._run.remainder().can_cancel:
            say(f"{number.name}: cancelling what is in flight, {CANCEL_S_MAX:.0f} s at most. Once more stops at once.")
            self._run.cancel_in_flight()
            asyncio.get_running_loop().call_later(CANCEL_S_MAX, self._end_now, number)
        else:
            self._end_now(number)

    def _end_now(self, number: signal.Signals) -> None:
        if self._run is not None:
            self._run.request_stop(Stop("interrupted", f"stopped by {number.name}", _EXIT_CODES[number], Manner.NOW))
        asyncio.get_running_loop().call_later(LAST_WORDS_S, os._exit, int(_EXIT_CODES[number]))

    def _harvest(self, run: Run, number: signal.Signals) -> None:
        stop = Stop(
            "interrupted", f"stopped by {number.name}", _EXIT_CODES[number], Manner.HARVEST, _resume_command(run)
        )
        run.request_stop(stop)
        say()
        say(f"{number.name}: {_harvest_words(run, cancels=self._cancel_on_stop)}")


def _ending(run: Run) -> Ending:
    stop = run.stop
    return Ending(
        directory=run.directory,
        exit_code=int(run.exit_code),
        found=run.result,
        output=run.output,
        summarised=True,
        stopped_kind=stop.kind if stop else "",
        stopped_message=stop.message if stop else "",
    )


def _ending_by(error: Exception, run: Run, code: int) -> Ending:
    """Return how a run ended that could not close its books."""
    return Ending(
        directory=run.directory,
        exit_code=code,
        found=surveyed(run.directory),
        output=run.output,
        summarised=False,
        stopped_kind=BROKEN,
        stopped_message=str(error) if isinstance(error, EngineError) else type(error).__name__,
    )


async def _run_hook(hooks: Hooks, signals: _Signals, inherited: dict[str, str], ending: Ending) -> None:
    signals.run_is_closed()
    if not signals.in_haste:
        await run_hook(hooks, ending, inherited=inherited, enough=signals.enough)


def _say_reopened(run: Run) -> None:
    again = run.reopened
    if again == Reopened():
        say("nothing to try again: no job that is at rest is as asked")
        return
    follow = f", {counted(again.follow, 'copy')} to follow {agreeing(again.follow, 'its original', 'their originals')}"
    copies = follow if again.follow else ""
    say(f"trying again: {counted(again.submit, 'job')} to submit, {again.download:,} to download{copies}")
    if again.left:
        paid = f"{counted(again.left, 'job')} {agreeing(again.left, 'was paid for and has', 'were paid for and have')}"
        warn(f"{paid} no file left to ask for; --pay-again submits {agreeing(again.left, 'it', 'them')} again")


def _harvest_words(run: Run, *, cancels: bool) -> str:
    """Say how many paid jobs are still brought home before the run ends, and how long that may take."""
    in_flight, remainder = run.tally.in_flight, run.remainder()
    if not in_flight:
        return "stopping; nothing is in flight."
    left_s = remainder.harvest_s or 0.0
    time = f", about {duration_words(left_s)}" if left_s >= 1 else ""  # overdue is no estimate
    if cancels and remainder.can_cancel:
        once_more = f"Once more cancels them, for at most {CANCEL_S_MAX:.0f} s; what is left then stays resumable."
    elif cancels:
        once_more = "Once more stops at once, because the provider offers no cancelling; they stay resumable."
    else:
        once_more = "Once more stops at once; they stay resumable."
    jobs = f"{counted(in_flight, 'job')} in flight {agreeing(in_flight, 'is', 'are')}"
    return f"no new submissions; {jobs} harvested first{time}. {once_more}"


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
        f"{counted(found.lines, 'line')}: {', '.join(filter(None, parts))}; "
        f"{usd_words(found.spent_usd)} spent{_reserved_words(found.reserved_usd)}, "
        f"{found.media_bytes / 1e6:,.1f} MB in {harmless(str(run.directory.root))}"
    )


def _reserved_words(reserved_usd: float) -> str:
    return f" and {usd_words(reserved_usd)} reserved" if reserved_usd else ""


def _what_is_left(run: Run) -> str:
    found = run.result
    if found.unknown:
        price = f", {usd_words(found.at_risk_usd)} at risk" if found.at_risk_usd is not None else ""
        lost = (
            f"{counted(found.unknown, 'submission')} {agreeing(found.unknown, 'has', 'have')} an unknown outcome{price}"
        )
        return f"{lost}; nothing is submitted again blindly"
    if not found.input_complete and recorded_input(found.input) is None:
        return "the input was not read to its end: for the rest, give the whole input to 'engine run' again"
    if run.stop is None or "engine resume" not in run.stop.hint:
        return _resume_command(run)
    return ""
