"""Make the rows of the request history, and the envelopes they come in.

The envelope is undocumented, so several are offered. A row shows a job as it was at a given moment.
Knows nothing of HTTP or of queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from engine.simulator.job import TERMINAL, Job, JobState
from engine.simulator.timestamps import write_instant

if TYPE_CHECKING:
    from engine.simulator.world import World

_DEFAULTS: dict[str, object] = {"base64": False, "negative_prompt": ""}
_WITHOUT_URL = ("text", "base64", "none")


def rows_of(world: World, job: Job, moment_s: float) -> int:
    """Return how many rows the list has for this job: one per output, or one."""
    history = world.scenario.history
    completed = job.state_at(moment_s) is JobState.COMPLETED
    return history.row_copies * (job.files_count if completed and history.row_per_output else 1)


def matches_status(job: Job, status: str, moment_s: float) -> bool:
    """Say whether the job passes the list's status filter."""
    return not status or _word(job.state_at(moment_s)) == status


def row(world: World, job: Job, index: int, moment_s: float) -> dict[str, object]:
    """Return one row; ``index`` picks the output that it shows."""
    state = job.state_at(moment_s)
    completed = state is JobState.COMPLETED
    return {
        "request_id": job.request_id,
        "model_name": job.model,
        "model_status": _word(state),
        "credits_deduction": job.price_usd if completed else 0.0,
        "request_body": _inputs(world, job),
        "generation_url": _url(world, job, index) if completed else None,
        "latency_ms": round(job.inference_time_s * 1000) if state in TERMINAL else None,
        "model_created": _written(world, job.created_utc),
        "model_updated": _written(world, job.created_utc + _age_s(job, state)),
        "error": job.error if state is JobState.FAILED else None,
    }


def generation(world: World, job: Job, moment_s: float) -> dict[str, object]:
    """Return one row of the generations list."""
    inputs = orjson.loads(job.body)
    return {
        "request_id": job.request_id,
        "model_name": job.model,
        "generation_url": _url(world, job, 0),
        "status": _word(job.state_at(moment_s)),
        "credits_deduction": job.price_usd,
        "latency_ms": round(job.inference_time_s * 1000),
        "prompt": inputs.get("prompt"),
        "parameters": inputs,
        "created_at": _written(world, job.created_utc),
    }


def enveloped(kind: str, rows: list[dict[str, object]], *, total: int, page: int, per_page: int) -> object:
    """Return the rows in one of the envelopes that a list may come in."""
    paging: dict[str, object] = {"total": total, "page": page, "per_page": per_page}
    match kind:
        case "bare":
            return rows
        case "nested":
            return {"success": True, "data": {"requests": rows, "pagination": paging}}
        case name:
            return {name: rows, **paging}


def _word(state: JobState) -> str:
    return str(state) if state in TERMINAL else "PENDING"


def _inputs(world: World, job: Job) -> object:
    history = world.scenario.history
    inputs = orjson.loads(job.body)
    if history.adds_defaults:
        inputs = {**_DEFAULTS, **inputs}
    return orjson.dumps(inputs).decode() if history.body_as_text else inputs


def _url(world: World, job: Job, index: int) -> str | None:
    if world.shape_of(job) in _WITHOUT_URL:
        return None
    return world.file_urls(job)[index % job.files_count]


def _age_s(job: Job, state: JobState) -> float:
    return (job.ended_s or job.created_s) - job.created_s if state in TERMINAL else 0.0


def _written(world: World, utc_s: float) -> object:
    return write_instant(utc_s, world.scenario.history.timestamps)
