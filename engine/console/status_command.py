"""``engine status``: how a run stands, read from its ledger beside whoever works on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import harmless
from engine.console.words import eta_words
from engine.errors import ExitCode, UsageError, nearest
from engine.estimate import Eta
from engine.job.counted import counted
from engine.job.money import usd_words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from engine.ledger.stopped import Stopped
    from engine.ledger.survey import Survey
    from engine.ledger.vitals import Vitals
    from engine.run.control_journal import Standing

STATUS_VERSION = 1
WATCH_INTERVAL_S = 2.0
PLACES = ("succeeded", "failed", "invalid", "unknown", "held", "in_flight", "remaining")


@click.command(short_help="How a run stands.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout; with --jobs, one a job.")
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
@click.option("--jobs", "place", metavar="PLACE", help=f"List the jobs that are {', '.join(PLACES)}.")
@click.option("--job", "job_id", metavar="ID", help="Everything that happened to one job.")
def status(run_dir: Path, *, as_json: bool, watch: bool, place: str | None, job_id: str | None) -> None:
    """Show counts, money, speed and what is left of the run in RUN_DIR; works beside a running process.

    \b
    engine status jobs.run --watch
    engine status jobs.run --jobs failed
    engine status jobs.run --job clip-001
    """
    if place is not None and place not in PLACES:
        raise UsageError(f"no job is ever {place!r}{nearest(place, PLACES)}", hint=f"--jobs takes {', '.join(PLACES)}")

    def text() -> str:
        if place is not None:
            return _read(run_dir, lambda db: _jobs_text(db, place, as_json=as_json))
        if job_id is not None:
            return _read(run_dir, lambda db: _job_text(db, job_id, as_json=as_json))
        return _status_text(run_dir, as_json=as_json)

    if watch:
        try:
            _watch(text)
        except KeyboardInterrupt:  # how one ends it; nothing is worth a word
            raise SystemExit(ExitCode.INTERRUPTED) from None
    else:
        click.echo(text())


def _watch(text: Callable[[], str]) -> None:
    """Show it again and again: in place on a terminal, block after block elsewhere."""
    import sys
    import threading

    from engine.console.progress import can_redraw

    pause = threading.Event()
    if not can_redraw(sys.stdout):
        while True:
            click.echo(text())
            pause.wait(WATCH_INTERVAL_S)
    from rich.live import Live
    from rich.text import Text

    with Live(Text(text()), auto_refresh=False, screen=False) as live:
        while True:
            live.update(Text(text()), refresh=True)
            pause.wait(WATCH_INTERVAL_S)


def _read(run_dir: Path, query: Callable[[sqlite3.Connection], str]) -> str:
    from engine.disk.run_dir import RunDir
    from engine.ledger.schema import open_for_reading

    directory = RunDir(run_dir)
    directory.must_exist()
    db = open_for_reading(directory.ledger)
    try:
        return query(db)
    finally:
        db.close()


def _status_text(run_dir: Path, *, as_json: bool) -> str:
    from engine.clock import SystemClock
    from engine.disk.run_dir import RunDir, lock_holder
    from engine.ledger.schema import facts_in
    from engine.ledger.stopped import stopped_in
    from engine.ledger.survey import survey
    from engine.ledger.vitals import vitals
    from engine.run.control_journal import ControlJournal, standing_in

    directory = RunDir(run_dir)
    holder = lock_holder(directory)

    def text(db: sqlite3.Connection) -> str:
        facts = facts_in(db)
        asked = standing_in(ControlJournal(directory.control), facts)
        found = survey(db)
        stopped = None if found.is_finished else stopped_in(facts, running=holder is not None)
        measured = vitals(db, found, now_utc=SystemClock().utc())
        if as_json:
            return _json(found, measured, asked, stopped, holder)
        head = f"run        {harmless(str(run_dir))}: {harmless(holder) if holder else 'nobody works on it now'}"
        return "\n".join([head, *_stopped_lines(stopped), *_lines(found, measured, asked, is_running=bool(holder))])

    return _read(run_dir, text)


def _json(found: Survey, measured: Vitals, asked: Standing, stopped: Stopped | None, holder: str | None) -> str:
    import msgspec
    import orjson

    from engine.clock import iso_utc

    record = msgspec.to_builtins(found)
    for name in ("begun_utc", "ended_utc", "oldest_in_flight_utc"):
        record[name] = None if record[name] is None else iso_utc(record[name])
    now = msgspec.to_builtins(measured) if holder else None
    control = {
        "paused_utc": None if asked.paused_utc is None else iso_utc(asked.paused_utc),
        "settings": asked.settings,
    }
    whole = {"version": STATUS_VERSION, "running": holder, "stopped": msgspec.to_builtins(stopped), **record}
    whole |= {"control": control, "vitals": now}
    return orjson.dumps(whole).decode()


def _lines(found: Survey, measured: Vitals, asked: Standing, *, is_running: bool) -> list[str]:
    from engine.run.controls import standing_words

    risk = "" if found.at_risk_usd is None else f" ({usd_words(found.at_risk_usd)} at risk)"
    read = "" if found.input_complete else " so far; the input is not read to its end"
    lines = [
        f"lines      {found.lines}{read}",
        f"at rest    {found.succeeded} succeeded, {found.failed} failed, {found.invalid} invalid",
        f"under way  {found.in_flight} in flight, {found.remaining} waiting to be submitted",
    ]
    if found.unknown or found.held:
        lines.append(f"set aside  {found.unknown} unknown{risk}, {found.held} held")
    spent = f"{usd_words(found.spent_usd)} spent on {counted(found.submissions, 'submission')}"
    projected = "" if measured.projected_usd is None else f", {usd_words(measured.projected_usd)} projected"
    lines.append(f"money      {spent}, {usd_words(found.reserved_usd)} reserved{projected}")
    lines.append(f"media      {found.media_bytes / 1e6:,.1f} MB")
    if is_running:
        lines += _vital_lines(measured)
    elif measured.polls_per_job is not None:
        lines.append(f"polling    {_polling_words(measured)}")
    if asked.paused_utc is not None or asked.settings:
        lines.append(f"control    {standing_words(asked)}")
    for cause in found.causes:
        example = f"line {cause.example_line}" + (f", {cause.example_id!r}" if cause.example_id else "")
        lines.append(
            f"{cause.status:<10} {cause.jobs} x {cause.kind}: {harmless(f'{example}: {cause.example_message}')}"
        )
    return lines


def _stopped_lines(stopped: Stopped | None) -> list[str]:
    """Say why it stopped early, and what to do."""
    if stopped is None:
        return []
    hint = [f"           {harmless(stopped.hint)}"] if stopped.hint else []
    return [f"stopped    {harmless(stopped.message)}", *hint]


def _vital_lines(measured: Vitals) -> list[str]:
    pace = "" if measured.submit_pace_per_minute is None else f" of {measured.submit_pace_per_minute:.1f} allowed"
    submits = f"{measured.submits_per_minute:.1f} submitted/min{pace}"
    money = f"{usd_words(measured.spent_usd_per_minute)}/min"
    lines = [f"speed      {measured.finished_per_minute:.1f} finished/min, {submits}, {money}"]
    if measured.eta_s is not None and measured.eta_spread_s is not None:
        lines.append(f"eta        {eta_words(Eta(measured.eta_s, measured.eta_spread_s))}")
    if measured.polls_per_job is not None:
        lines.append(f"polling    {_polling_words(measured)}")
    if measured.fleet:
        lines.append(f"fleet      {harmless(measured.fleet)}")
    if measured.waits_for:
        lines.append(f"waits for  {harmless(measured.waits_for)}")
    return lines


def _polling_words(measured: Vitals) -> str:
    lag = "" if measured.lag_mean_s is None else f", {measured.lag_mean_s:.1f} s lag (95 %: {measured.lag_p95_s:.1f} s)"
    return f"{measured.polls_per_job:.1f} polls a job{lag}"


def _jobs_text(db: sqlite3.Connection, place: str, *, as_json: bool) -> str:
    import msgspec
    import orjson

    from engine.ledger.job_history import jobs_in

    entries = list(jobs_in(db, place))
    if as_json:
        return "\n".join(orjson.dumps(msgspec.to_builtins(entry)).decode() for entry in entries)
    if not entries:
        return f"no job is {place}"
    lines = []
    for entry in entries:
        why = "" if entry.error is None else f"{entry.error['kind']}: {entry.error['message']}"
        parts = (f"line {entry.line}", repr(entry.id) if entry.id else "", entry.state, why or entry.path or "")
        lines.append(harmless("  ".join(part for part in parts if part)))
    return "\n".join(lines)


def _job_text(db: sqlite3.Connection, job_id: str, *, as_json: bool) -> str:
    import msgspec
    import orjson

    from engine.console.named_jobs import unknown_words
    from engine.ledger.job_history import history_of

    events = history_of(db, job_id)
    if events is None:
        raise UsageError(unknown_words(db, job_id), hint="engine status RUN_DIR --jobs failed lists jobs by id")
    if as_json:
        return orjson.dumps([msgspec.to_builtins(event) for event in events]).decode()
    return "\n".join(
        harmless(f"{event.utc or '':<24}  {event.attempt or '':<2} {event.what:<10} {event.detail}") for event in events
    )
