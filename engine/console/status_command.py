"""``engine status``: how a run stands, read from its ledger beside whoever works on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.console.messages import harmless

if TYPE_CHECKING:
    from engine.ledger.survey import Survey

STATUS_VERSION = 1
WATCH_INTERVAL_S = 2.0


@click.command(short_help="How a run stands.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--watch", is_flag=True, help="Again every two seconds, until Ctrl-C.")
def status(run_dir: Path, *, as_json: bool, watch: bool) -> None:
    """Show counts, money and what is left of the run in RUN_DIR; works beside a running process."""
    import threading  # noqa: PLC0415

    pause = threading.Event()
    while True:
        _show(run_dir, as_json=as_json)
        if not watch:
            return
        pause.wait(WATCH_INTERVAL_S)


def _show(run_dir: Path, *, as_json: bool) -> None:
    from engine.ledger.run_dir import RunDir, lock_holder  # noqa: PLC0415
    from engine.ledger.schema import open_for_reading  # noqa: PLC0415
    from engine.ledger.survey import survey  # noqa: PLC0415

    directory = RunDir(run_dir)
    directory.must_exist()
    db = open_for_reading(directory.ledger)
    try:
        found = survey(db)
    finally:
        db.close()
    holder = lock_holder(directory)
    click.echo(_json(found, holder) if as_json else "\n".join(_lines(found, holder, run_dir)))


def _json(found: Survey, holder: str | None) -> str:
    import msgspec  # noqa: PLC0415
    import orjson  # noqa: PLC0415

    from engine.clock import iso_utc  # noqa: PLC0415

    record = msgspec.to_builtins(found)
    for name in ("begun_utc", "ended_utc", "oldest_in_flight_utc"):
        record[name] = None if record[name] is None else iso_utc(record[name])
    return orjson.dumps({"version": STATUS_VERSION, "running": holder, **record}).decode()


def _lines(found: Survey, holder: str | None, run_dir: Path) -> list[str]:
    risk = "" if found.at_risk_usd is None else f" (${found.at_risk_usd:,.2f} at risk)"
    read = "" if found.input_complete else " so far; the input is not read to its end"
    lines = [
        f"run        {harmless(str(run_dir))}: " + (harmless(holder) if holder else "nobody works on it now"),
        f"lines      {found.lines}{read}",
        f"at rest    {found.succeeded} succeeded, {found.failed} failed, {found.invalid} invalid",
        f"under way  {found.in_flight} in flight, {found.remaining} waiting to be submitted",
    ]
    if found.unknown or found.held:
        lines.append(f"set aside  {found.unknown} unknown{risk}, {found.held} held")
    spent = f"${found.spent_usd:,.2f} spent on {found.submissions} submissions"
    lines.append(f"money      {spent}, ${found.reserved_usd:,.2f} reserved")
    lines.append(f"media      {found.media_bytes / 1e6:,.1f} MB")
    for cause in found.causes:
        example = f"line {cause.example_line}" + (f", {cause.example_id!r}" if cause.example_id else "")
        lines.append(
            f"{cause.status:<10} {cause.jobs} x {cause.kind}: {harmless(f'{example}: {cause.example_message}')}"
        )
    return lines
