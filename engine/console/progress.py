"""Honest progress on stderr: a live panel on a terminal, one plain line every 30 s elsewhere.

Reads the run's tally at a fixed pace, so that progress costs the same at one job a second and at a
thousand. Never touches stdout, which may be carrying result lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Self

from engine.console.figures import Figures
from engine.console.messages import harmless, say
from engine.console.words import duration_words, eta_words
from engine.job.money import usd_words

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TextIO

    from rich.console import RenderableType

    from engine.run.run import Run
    from engine.scheduling.tally import Tally
    from engine.scheduling.view import View

PANEL_INTERVAL_S = 0.5
LINE_INTERVAL_S = 30.0
LOOK_INTERVAL_S = 2.0
"""So often is looked whether something has changed that is worth a line before its time."""
FAILURES_SHOWN_MAX = 3
NARROW_COLUMNS = 80
LABEL_LENGTH_MAX = 20
LABEL_ROOM = 14
STYLES = {"failed": "red", "too late": "yellow", "set aside": "yellow", "waits for": "cyan"}
DUMB_TERMINALS = frozenset({"dumb", "unknown"})


class Progress:
    """Shows a run while the block lasts; nothing at all if it is not ``shown``."""

    def __init__(self, run: Run, *, shown: bool) -> None:
        self._run = run
        self._shown = shown
        self._figures = Figures(lambda: run.tally)
        self._task: asyncio.Task[None] | None = None
        self._over = False

    async def __aenter__(self) -> Self:
        if self._shown:
            self._task = asyncio.create_task(self._show(), name="progress")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._over = True
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _show(self) -> None:
        if can_redraw(sys.stderr):
            with contextlib.suppress(OSError):  # the terminal may go away at any time
                await self._panel()
        if not self._over:  # a panel that cannot draw its last picture has swallowed the cancellation
            await self._lines()

    async def _lines(self) -> None:
        noted, since_s = of_note(self._run), 0.0
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            self._figures.note()
            since_s += LOOK_INTERVAL_S
            now = of_note(self._run)
            if since_s >= LINE_INTERVAL_S or now != noted:
                noted, since_s = now, 0.0
                say(plain_line(self._figures, self._run))

    async def _panel(self) -> None:
        from rich.console import Console  # noqa: PLC0415 (not needed for plain lines)
        from rich.live import Live  # noqa: PLC0415

        console = Console(stderr=True)
        with Live(
            console=console, auto_refresh=False, transient=False, redirect_stdout=False, redirect_stderr=True
        ) as live:
            try:
                while True:
                    self._figures.note()
                    live.update(self._render(console.width), refresh=True)
                    await asyncio.sleep(PANEL_INTERVAL_S)
            finally:
                self._figures.note()
                live.update(self._render(console.width), refresh=True)

    def _render(self, width: int) -> RenderableType:
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in panel_rows(self._figures, self._run, width=width):
            table.add_row(label, Text(text, style=STYLES.get(label, "")))
        return table


def can_redraw(stream: TextIO | None) -> bool:
    """Say whether lines that were written can be replaced: not in a file, nor on a dumb terminal."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "").lower() not in DUMB_TERMINALS


def of_note(run: Run) -> tuple[object, ...]:
    """Return what is worth a plain line when it changes: a stop, a hold, a new kind of failure, an unknown outcome."""
    tally, view = run.tally, run.view()
    return (
        run.stop and run.stop.kind,
        view.is_held_up,
        frozenset(tally.causes),
        tally.unknown > 0,
        tally.held > 0,
        bool(view.shortfall),
    )


def panel_rows(figures: Figures, run: Run, *, width: int) -> list[tuple[str, str]]:
    """Return the panel's rows as (label, text), without control characters; no row is wider than ``width``."""
    tally, view, narrow = figures.tally, run.view(), width < NARROW_COLUMNS
    room = max(20, width - LABEL_ROOM)
    rows = [
        (
            _shortened(harmless(run.directory.root.name), LABEL_LENGTH_MAX),
            _bar(figures, width=max(8, min(40, width - 52))),
        ),
        ("eta", _eta(figures, run)),
        ("at rest", f"{tally.succeeded} succeeded · {tally.failed} failed · {tally.invalid} invalid"),
        ("in flight", _in_flight(tally, narrow=narrow)),
        ("waiting", f"{tally.pending}" + ("" if tally.input_complete else " so far, the input is still being read")),
        ("money", _money(figures, narrow=narrow)),
        ("pace", _pace(figures, view, narrow=narrow)),
        ("polling", _polling(tally, narrow=narrow)),
    ]
    if run.fleet:
        rows.append(("fleet", run.fleet))
    if tally.unknown or tally.held:
        rows.append(("set aside", f"{tally.unknown} unknown · {tally.held} held"))
    rows += [("failed", _shortened(harmless(words), room)) for words in _failures(tally)]
    if view.shortfall:
        rows.append(("too late", harmless(view.shortfall)))
    if view.waits_for:
        rows.append(("waits for", harmless(view.waits_for)))
    return [(label, text) for label, text in rows if text]


def plain_line(figures: Figures, run: Run) -> str:
    """Return the progress as one line without colour or control characters."""
    tally = figures.tally
    parts = [
        f"{tally.decided}/{tally.lines}{'' if tally.input_complete else '+'} at rest",
        f"{tally.failed + tally.invalid} failed or invalid",
        f"{tally.in_flight} in flight",
        f"{tally.pending} waiting",
        usd_words(tally.spent_usd),
        f"{figures.finished_per_minute:.1f}/min",
        run.fleet and f"fleet: {run.fleet}",
        _eta(figures, run) if run.stop else f"eta {_eta(figures, run)}",
        harmless(run.view().waits_for),
    ]
    return ", ".join(part for part in parts if part)


def _in_flight(tally: Tally, *, narrow: bool) -> str:
    queued = f", {tally.queued} of them queued" if tally.queued else ""
    places = [
        f"{jobs} {place}"
        for jobs, place in (
            (tally.submitting, "submitting"),
            (tally.generating, f"generating{queued}"),
            (tally.fetching, "fetching"),
            (tally.downloading, "downloading"),
        )
        if jobs or not narrow
    ]
    return f"{tally.in_flight}" + (f" ({' · '.join(places)})" if places else "")


def _money(figures: Figures, *, narrow: bool) -> str:
    tally, projected_usd = figures.tally, figures.projected_usd
    parts = [
        f"{usd_words(tally.spent_usd)} spent",
        "" if narrow else f"{usd_words(tally.reserved_usd)} reserved",
        "" if projected_usd is None else f"{usd_words(projected_usd)} projected",
        "" if narrow else f"{usd_words(figures.spent_usd_per_minute)}/min",
    ]
    return " · ".join(part for part in parts if part)


def _pace(figures: Figures, view: View, *, narrow: bool) -> str:
    submits = f"{figures.submits_per_minute:.1f} submitted/min of {view.submit_pace_per_minute:.1f}"
    return f"{figures.finished_per_minute:.1f} finished/min" + ("" if narrow else f" · {submits} allowed")


def _polling(tally: Tally, *, narrow: bool) -> str:
    finished = tally.lag_jobs
    a_job = f"{tally.polls / finished:.1f} polls a job" if finished else f"{tally.polls} polls"
    lag = f" · {tally.lag_sum_s / finished:.1f} s lag" if finished else ""
    throttled = "" if narrow and not tally.throttles else f" · {tally.throttles} times throttled"
    return f"{a_job}{lag}{throttled}"


def _failures(tally: Tally) -> list[str]:
    """Return the last failures, one a cause, each with how often it came."""
    last = {kind: (id_, message) for id_, kind, message in tally.recent_failures}
    shown = list(last.items())[-FAILURES_SHOWN_MAX:]
    return [f"{tally.causes[kind] or 1} x {kind}, last {id_}: {message}" for kind, (id_, message) in shown]


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _bar(figures: Figures, *, width: int) -> str:
    tally = figures.tally
    share = tally.decided / tally.lines if tally.lines else 0.0
    filled = int(share * width)
    return (
        f"{'█' * filled}{'░' * (width - filled)} {tally.decided}/{tally.lines}"
        f"{'' if tally.input_complete else '+'} · {duration_words(figures.elapsed_s)}"
    )


def _eta(figures: Figures, run: Run) -> str:
    if run.stop is not None:
        return "stopping"  # what waits will not be submitted, so the pace so far foretells nothing
    foretold = figures.eta
    return "unknown yet" if foretold is None else eta_words(foretold)
