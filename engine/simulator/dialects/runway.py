"""Runway: tasks, the model in the body, a version header without which nothing is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.simulator.dialects.dialect import Asked, CancelRoute, Worded, bearer, created
from engine.simulator.job import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.job import Job
    from engine.simulator.world import World

VERSION = "2024-11-06"
_WORDS = {
    JobState.QUEUED: "PENDING",
    JobState.PROCESSING: "RUNNING",
    JobState.COMPLETED: "SUCCEEDED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "CANCELLED",
}


class Runway:
    """See ``Dialect``."""

    name = "runway"
    submit_path = "/v1/image_to_video"
    submits_below: tuple[str, ...] = ("/v1/image_to_video",)
    status_path = "/v1/tasks/{request_id}"
    result_path = ""
    unknown_word = "THROTTLED"
    cancel: CancelRoute | None = CancelRoute(
        "DELETE", "/v1/tasks/{request_id}", frozenset({JobState.PROCESSING}), deletes=True
    )

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """See ``Dialect``."""
        return bearer(headers) if headers.get("X-Runway-Version") == VERSION else None

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:  # noqa: ARG002
        """See ``Dialect``."""
        model = body.get("model")
        inputs = {name: value for name, value in body.items() if name != "model"}
        return Asked(model, inputs) if isinstance(model, str) else None

    def accepted(self, world: World, job: Job, origin: str) -> Worded:  # noqa: ARG002
        """See ``Dialect``."""
        return Worded({"id": job.request_id})

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:
        """See ``Dialect``."""
        word = _WORDS[state] if isinstance(state, JobState) else state
        body: dict[str, Any] = {"id": job.request_id, "status": word, "createdAt": created(job)}
        match word:
            case "SUCCEEDED":
                body |= {"output": world.file_urls(job), "cost": {"credits": 50}}
            case "FAILED":
                body |= {"failure": job.error, "failureCode": "INTERNAL.BAD_OUTPUT.CODE01", "cost": {"credits": 0}}
            case "RUNNING":
                body |= {"progress": 0.5, "estimatedCost": {"credits": 50}}
            case _:
                body |= {"estimatedCost": {"credits": 50}}
        return Worded(body)

    def result(self, world: World, job: Job) -> Worded:
        """See ``Dialect``."""
        return self.status(world, job, job.state)

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:  # noqa: ARG002
        """See ``Dialect``."""
        return None
