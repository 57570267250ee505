"""Large ledgers, made row by row where running that many jobs would take an hour.

.venv/bin/python -m tests.benchmarks.ledgers night.run --done 1000000 --in-flight 10000 [--failed-share 0.01]
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from engine.clock import SystemClock
from engine.config import RunConfig
from engine.disk.run_dir import RunDir
from engine.job.job import body_sha256
from engine.ledger.moves import note
from engine.ledger.schema import open_for_writing
from tests.benchmarks.clients import MODEL, body

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

AT_ONCE = 50_000
FIRST_SUBMIT_AGO_S = 6 * 3600.0
IN_FLIGHT_AGO_S = 600.0
RESULT = orjson.dumps({"status": "COMPLETED", "video": {"url": "https://a.example/a.mp4", "content_type": "video/mp4"}})
MEDIA = orjson.dumps({"urls": ["https://a.example/a.mp4"], "bytes_expected": None, "content_type": "video/mp4"})
ERROR = orjson.dumps({"kind": "generation_failed", "message": "the face was not found", "retryable": True})


def build(root: Path, *, done: int, in_flight: int, failed_share: float, settings: tuple[str, ...]) -> None:
    """Make a run directory of a batch that was interrupted.

    Args:
        root: where; must not exist.
        done: jobs at rest, every line written.
        in_flight: jobs behind them that were submitted, and not yet found finished.
        failed_share: so many of the jobs at rest have failed.
        settings: overrides of the configuration that the run remembers.
    """
    directory = RunDir(root)
    directory.create()
    db = open_for_writing(directory.ledger, synchronous="OFF")
    now = SystemClock().utc()
    try:
        for first in range(0, done + in_flight, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, done + in_flight))
            db.execute("BEGIN")
            _insert(db, numbers, done=done, failed_share=failed_share, now=now)
            db.execute("COMMIT")
        note(db, _facts(directory, done=done, lines=done + in_flight, settings=settings, now=now))
    finally:
        db.close()


def _insert(db: sqlite3.Connection, numbers: Iterable[int], *, done: int, failed_share: float, now: float) -> None:
    input_rows, jobs, attempts, files = [], [], [], []
    for number in numbers:
        params, at_rest = body(number), number < done
        failed = at_rest and number % 1000 < failed_share * 1000
        digest = body_sha256(MODEL, params)
        input_rows.append((number, number + 1, f"clip-{number:07}", 1, MODEL, orjson.dumps(params), digest))
        state = "done" if at_rest else "submitted"
        status = None if not at_rest else "failed" if failed else "succeeded"
        jobs.append((number, state, 1, number if at_rest else None, status, ERROR if failed else None))
        sent = now - (FIRST_SUBMIT_AGO_S * (1 - number / (done + 1)) if at_rest else IN_FLIGHT_AGO_S)
        ended = sent + 713.0 if at_rest else None
        good = at_rest and not failed
        attempts.append(
            (
                *(number, 1, sent, 4.475, f"{number:032x}", sent, ended, ended if good else None),
                *(4.475 if good else None, 2.0 if at_rest else 0, RESULT if good else None, MEDIA if good else None),
            )
        )
        if good:
            path = f"media/clip-{number:07}.mp4"
            files.append((number, 0, path, "https://a.example/a.mp4", 5_000_000, digest, "video/mp4", "length mp4"))
    db.executemany(
        "INSERT INTO input (job, line, id, valid, model, params, body_sha256) VALUES (?, ?, ?, ?, ?, ?, ?)", input_rows
    )
    db.executemany("INSERT INTO job (job, state, attempts, seq, status, error) VALUES (?, ?, ?, ?, ?, ?)", jobs)
    db.executemany(
        "INSERT INTO attempt (job, attempt, intent_utc, price_usd, request_id, submitted_utc, completed_utc,"
        " stored_utc, cost_usd, polls, output, media) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        attempts,
    )
    db.executemany("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)", files)


def _facts(directory: RunDir, *, done: int, lines: int, settings: tuple[str, ...], now: float) -> dict[str, Any]:
    size_bytes, tail = 0, b""
    with directory.results.open("wb") as file:
        for tail in _result_lines(done):
            size_bytes += file.write(tail)
    return {
        "created_utc": now - FIRST_SUBMIT_AGO_S,
        "config": orjson.dumps(RunConfig.load(None, list(settings)).to_mapping()).decode(),
        "model": MODEL,
        "provider": "simulator",
        "input_bytes": 0,
        "input_sha256": hashlib.sha256().hexdigest(),
        "input_lines": lines,
        "input_ends_in_newline": 1,
        "input_complete": 1,
        "output_path": directory.results.name,
        "output_bytes": size_bytes,
        "output_lines": done,
        "output_tail_bytes": len(tail),
        "output_tail_sha256": hashlib.sha256(tail).hexdigest(),
    }


def _result_lines(done: int) -> Iterator[bytes]:
    for first in range(0, done, AT_ONCE):
        yield b"".join(
            b'{"id":"clip-%07d","line":%d,"seq":%d,"status":"succeeded"}\n' % (number, number + 1, number)
            for number in range(first, min(first + AT_ONCE, done))
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--done", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=0)
    parser.add_argument("--failed-share", type=float, default=0.0)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    asked = parser.parse_args()
    build(
        asked.root,
        done=asked.done,
        in_flight=asked.in_flight,
        failed_share=asked.failed_share,
        settings=tuple(asked.settings),
    )


if __name__ == "__main__":
    main()
