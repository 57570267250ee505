"""Replicate: a prediction that is told in full at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from engine.simulator.dialects.dialect import Asked, CancelRoute, Worded, bearer, created
from engine.simulator.job import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.job import Job
    from engine.simulator.world import World

_WORDS = {
    JobState.QUEUED: "starting",
    JobState.PROCESSING: "processing",
    JobState.COMPLETED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "canceled",
}


class Replicate:
    """See ``Dialect``."""

    name = "replicate"
    submit_path = "/v1/models/{owner}/{model}/predictions"
    submits_below: tuple[str, ...] = ("/v1/models/",)
    status_path = "/v1/predictions/{request_id}"
    result_path = ""
    unknown_word = "booting"
    cancel: CancelRoute | None = CancelRoute(
        "POST", "/v1/predictions/{request_id}/cancel", frozenset({JobState.PROCESSING})
    )

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """See ``Dialect``."""
        return bearer(headers)

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:
        """See ``Dialect``."""
        inputs = body.get("input")
        return Asked(f"{match['owner']}/{match['model']}", inputs) if isinstance(inputs, dict) else None

    def accepted(self, world: World, job: Job, origin: str) -> Worded:
        """See ``Dialect``."""
        return Worded(_prediction(world, job, "starting", origin), 201)

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:
        """See ``Dialect``."""
        return Worded(_prediction(world, job, _WORDS[state] if isinstance(state, JobState) else state, world.base_url))

    def result(self, world: World, job: Job) -> Worded:
        """See ``Dialect``."""
        return self.status(world, job, job.state)

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:  # noqa: ARG002
        """See ``Dialect``."""
        return self.status(world, job, job.state)


def _prediction(world: World, job: Job, word: str, origin: str) -> dict[str, Any]:
    record, done = f"{origin}/v1/predictions/{job.request_id}", word == "succeeded"
    return {
        "id": job.request_id,
        "model": job.model,
        "version": "hidden",
        "input": orjson.loads(job.body),
        "logs": "",
        "output": world.file_urls(job)[0] if done else None,
        "data_removed": False,
        "error": job.error if word == "failed" else None,
        "status": word,
        "created_at": created(job),
        "started_at": None,
        "completed_at": None,
        "metrics": {"predict_time": round(job.inference_time_s, 3)} if done else {},
        "urls": {"get": record, "cancel": f"{record}/cancel", "web": record},
    }
