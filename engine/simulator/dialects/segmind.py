"""Segmind v2: a second request for the result, FAILED as 422, documented metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.simulator.dialects.dialect import Asked, CancelRoute, Worded
from engine.simulator.job import JobState
from engine.simulator.result_body import output_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.job import Job
    from engine.simulator.world import World


class Segmind:
    """See ``Dialect``."""

    name = "segmind"
    submit_path = "/v2/{model}"
    submits_below: tuple[str, ...] = ("/v2/", "/v1/")
    status_path = "/v2/requests/{request_id}/status"
    result_path = "/v2/requests/{request_id}"
    unknown_word = "WARMING_UP"
    cancel: CancelRoute | None = None

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """See ``Dialect``."""
        return headers.get("x-api-key")

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:
        """See ``Dialect``."""
        return Asked(match["model"], body)

    def accepted(self, world: World, job: Job, origin: str) -> Worded:  # noqa: ARG002 (others look at the world)
        """See ``Dialect``."""
        record = f"{origin}/v2/requests/{job.request_id}"
        named = {"status_url": f"{record}/status", "response_url": record, "poll_url": f"{record}/status"}
        return Worded({"request_id": job.request_id, "status": "QUEUED", **named})

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:
        """See ``Dialect``."""
        body: dict[str, object] = {"status": str(state), "request_id": job.request_id, "metrics": {}}
        if state is JobState.COMPLETED:
            return Worded({**body, "metrics": _times(job)})
        if state is JobState.FAILED:
            return Worded({**body, "error": job.error, "metrics": _times(job)}, world.scenario.work.failed_http_status)
        return Worded(body)

    def result(self, world: World, job: Job) -> Worded:
        """See ``Dialect``."""
        if job.state is JobState.FAILED:
            return self.status(world, job, job.state)
        metrics: dict[str, object] = {"cost": job.price_usd, "remaining_credits": job.remaining_credits_usd}
        metrics |= _times(job)
        metrics["total_time"] = round(job.queue_time_s + job.inference_time_s, 3)
        head = {"status": "COMPLETED", "request_id": job.request_id, "error": None}
        return Worded({**head, **output_fields(world, job), "metrics": metrics})

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:  # noqa: ARG002
        """See ``Dialect``."""
        return None


def _times(job: Job) -> dict[str, object]:
    return {"inference_time": round(job.inference_time_s, 3), "queue_time": round(job.queue_time_s, 3)}
