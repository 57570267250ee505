"""What a run came to: the record in ``summary.json``, and the exit code.

Every input line is accounted for: succeeded + failed + invalid + unknown + held + in_flight + remaining = lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from engine import __version__
from engine.clock import iso_utc
from engine.disk.durable import replacement
from engine.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from engine.ledger.survey import Survey
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally

SUMMARY_VERSION = 1


def exit_code_of(found: Survey, stop: Stop | None) -> ExitCode:
    """Return how the process ends: a reason to stop counts only if it left something undone."""
    if stop is not None and stop.kind == "broken_pipe":
        return stop.exit_code  # every line is in the output file, but whoever read the stream has not got them all
    if not found.is_finished:
        return stop.exit_code if stop is not None else ExitCode.STOPPED
    return ExitCode.SUCCEEDED if found.succeeded == found.lines else ExitCode.SOME_FAILED


def summarise(found: Survey, tally: Tally, stop: Stop | None, *, wall_s: float) -> dict[str, Any]:
    """Return the content of ``summary.json``; FORMATS.md describes each field."""
    record: dict[str, Any] = msgspec.to_builtins(found)
    for name in ("begun_utc", "ended_utc", "oldest_in_flight_utc"):
        record[name] = None if record[name] is None else iso_utc(record[name])
    return {
        "version": SUMMARY_VERSION,
        "engine": __version__,
        "exit_code": int(exit_code_of(found, stop)),
        "stopped": None if stop is None else {"kind": stop.kind, "message": stop.message, "hint": stop.hint},
        **record,
        "process": {
            "wall_s": round(wall_s, 3),
            "submits": tally.submits,
            "polls": tally.polls,
            "throttles": tally.throttles,
            "in_flight_peak": tally.in_flight_peak,
            "downloaded_bytes": tally.downloaded_bytes,
            "lag_mean_s": round(tally.lag_sum_s / tally.lag_jobs, 3) if tally.lag_jobs else None,
        },
    }


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Put ``summary.json`` in the place of an earlier one.

    Raises:
        StorageError: the disk did not take it.
    """
    with replacement(path) as file:
        file.write(orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
