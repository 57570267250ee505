"""fal's queue: addresses without the end of the model's path, a result that is the model's own body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.simulator.dialects.dialect import Asked, CancelRoute, Worded, bearer
from engine.simulator.job import TERMINAL, JobState
from engine.simulator.result_body import described

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.job import Job
    from engine.simulator.world import World

_WORDS = {JobState.QUEUED: "IN_QUEUE", JobState.PROCESSING: "IN_PROGRESS"}


class Fal:
    """See ``Dialect``."""

    name = "fal"
    submit_path = "/{model:.+}"
    submits_below: tuple[str, ...] = ("/",)
    status_path = "/{owner}/{app}/requests/{request_id}/status"
    result_path = "/{owner}/{app}/requests/{request_id}"
    unknown_word = "WARMING_UP"
    cancel: CancelRoute | None = CancelRoute(
        "PUT", "/{owner}/{app}/requests/{request_id}/cancel", frozenset({JobState.PROCESSING})
    )

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """See ``Dialect``."""
        return bearer(headers, "Key")

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:
        """See ``Dialect``."""
        return Asked(match["model"], body)

    def accepted(self, world: World, job: Job, origin: str) -> Worded:  # noqa: ARG002
        """See ``Dialect``."""
        record = f"{origin}/{'/'.join(job.model.split('/')[:2])}/requests/{job.request_id}"
        named = {"response_url": record, "status_url": f"{record}/status", "cancel_url": f"{record}/cancel"}
        return Worded({"status": "IN_QUEUE", "request_id": job.request_id, "queue_position": 0, **named})

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:  # noqa: ARG002
        """See ``Dialect``."""
        if state in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED):
            metrics = {"inference_time": round(job.inference_time_s, 3)}
            body = {"status": "COMPLETED", "request_id": job.request_id, "logs": None, "metrics": metrics}
            failed = {"error": job.error, "error_type": "request_error"}
            if state is JobState.CANCELLED:
                failed = {"error": "Request was cancelled", "error_type": "client_cancelled"}
            return Worded(body if state is JobState.COMPLETED else {**body, **failed})
        word = _WORDS[state] if isinstance(state, JobState) else state
        more = {"queue_position": 0} if word == "IN_QUEUE" else {"logs": None}
        return Worded({"status": word, "request_id": job.request_id, **more}, 202)

    def result(self, world: World, job: Job) -> Worded:
        """See ``Dialect``."""
        if job.state is JobState.FAILED:
            return Worded({"detail": [{"loc": ["body"], "msg": job.error, "type": "value_error"}]}, 422)
        if job.state is JobState.CANCELLED:
            return Worded({"detail": "Request was cancelled", "error_type": "client_cancelled"}, 499)
        return Worded({"video": described(world, world.file_urls(job)[0]), "seed": 7})

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:  # noqa: ARG002
        """See ``Dialect``."""
        if before in TERMINAL:
            return Worded({"status": "ALREADY_COMPLETED"}, 400)
        return Worded({"status": "CANCELLATION_REQUESTED"}, 202)
