"""Ledgers of any size for the report, written straight into the tables: what a night of so many jobs leaves behind.

By hand: ``python -m tests.report.ledgers DIRECTORY JOBS`` makes a run directory to look at.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import orjson

from engine.ledger.schema import open_for_writing

BEGIN_UTC = 1_767_225_600.0
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\u202egnp.exe",
    "\x1b[2Jgone",
    "a\"b'c&d",
)
WORDS = ("a", "calm", "presenter", "smiles", "at", "the", "camera", "and", "speaks", "about", "the", "harbour")


def make_run(root: Path, jobs: int, *, seed: int = 1, store: str = "") -> Path:
    """Write a run of ``jobs`` jobs: most succeeded, some failed, invalid, unknown, in flight and waiting.

    With ``store``, the URL of a place in an object store, their files are there.
    """
    root.mkdir(parents=True, exist_ok=True)
    dice = random.Random(seed)
    db = open_for_writing(root / "run.db", synchronous="OFF")
    db.execute("BEGIN")
    written = 0
    for job in range(jobs):
        id_ = HOSTILE[job] if job < len(HOSTILE) else f"clip-{job:05}"
        place = "succeeded" if job < len(HOSTILE) else dice.choices(PLACES, WEIGHTS)[0]
        written += _insert(db, dice, job=job, id_=id_, place=place, seq=written)
    facts = {
        "created_utc": BEGIN_UTC,
        "input_complete": 1,
        "input_name": "/data/night.jsonl",
        "model": "kling-v1-pro-ai-avatar",
        "output_path": "results.jsonl",
        "output_lines": written,
        "output_bytes": 0,
        "throttles": orjson.dumps({str(int(BEGIN_UTC // 60) + 90 + n): dice.randint(1, 9) for n in range(12)}).decode(),
    }
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(facts.items()))
    if store:
        db.execute("UPDATE file SET path = replace(path, 'media', ?)", (store,))
    db.execute("COMMIT")
    db.close()
    return root


PLACES = ("succeeded", "failed", "invalid", "unknown", "in_flight", "remaining")
WEIGHTS = (930, 40, 6, 2, 10, 12)


def _insert(db: Any, dice: random.Random, *, job: int, id_: str, place: str, seq: int) -> int:
    """Insert one job; return whether it has a line."""
    prompt = " ".join(dice.choices(WORDS, k=dice.randint(4, 60)))
    params = orjson.dumps(
        {"image_url": f"https://example.com/{job}.png", "prompt": f"{prompt} {id_ if job < 7 else ''}"}
    )
    error = None
    if place in {"failed", "invalid"}:
        kind = dice.choice(("generation_failed", "rejected", "bad_media")) if place == "failed" else "bad_line"
        error = orjson.dumps(
            {
                "kind": kind,
                "message": "no face was found in the image",
                "http_status": 422,
                "retryable": True,
                "paid": False,
            }
        )
    valid = place != "invalid"
    db.execute(
        "INSERT INTO input VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, 0, NULL)",
        (job, job + 1, id_, valid, "kling-v1-pro-ai-avatar" if valid else None, params if valid else None),
    )
    done = place in {"succeeded", "failed", "invalid"}
    state = {"unknown": "unknown", "in_flight": "submitted", "remaining": "pending"}.get(place, "done")
    attempts = 0 if place in {"invalid", "remaining"} else 1
    status = place if done else None
    db.execute(
        "INSERT INTO job VALUES (?, ?, ?, 0, ?, ?, ?)", (job, state, attempts, seq if done else None, status, error)
    )
    if attempts:
        _insert_attempt(db, dice, job, place)
    return int(done)


def _insert_attempt(db: Any, dice: random.Random, job: int, place: str) -> None:
    submitted = BEGIN_UTC + job * 3.6 + dice.uniform(0, 3)
    duration_s, lag_s = 713 * dice.lognormvariate(0, 0.15), dice.uniform(1, 40)
    completed = submitted + duration_s + lag_s if place in {"succeeded", "failed"} else None
    db.execute(
        "INSERT INTO attempt (job, attempt, intent_utc, price_usd, request_id, submitted_utc, completed_utc,"
        " stored_utc, cost_usd, queue_s, inference_s, lag_s, polls)"
        " VALUES (?, 1, ?, 4.475, ?, ?, ?, ?, ?, 1.0, ?, ?, ?)",
        (
            job,
            submitted - 0.2,
            None if place == "unknown" else f"{job:032x}",
            None if place == "unknown" else submitted,
            completed,
            completed,
            4.475 if place == "succeeded" else None,
            duration_s,
            lag_s if completed else None,
            dice.randint(2, 9),
        ),
    )
    if place == "succeeded":
        db.execute(
            "INSERT INTO file VALUES (?, 0, ?, 'https://example.com/a.mp4', 11087, zeroblob(32), 'video/mp4', 'mp4')",
            (job, f"media/clip-{job:05}.mp4"),
        )


if __name__ == "__main__":
    make_run(Path(sys.argv[1]), int(sys.argv[2]))
