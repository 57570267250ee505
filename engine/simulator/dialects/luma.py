"""Luma's Dream Machine: generations, whose word is called ``state``."""

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
    JobState.QUEUED: "queued",
    JobState.PROCESSING: "dreaming",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "failed",
}


class Luma:
    """See ``Dialect``."""

    name = "luma"
    submit_path = "/generations/video"
    submits_below: tuple[str, ...] = ("/generations/video",)
    status_path = "/generations/{request_id}"
    result_path = ""
    unknown_word = "pondering"
    cancel: CancelRoute | None = CancelRoute(
        "DELETE", "/generations/{request_id}", frozenset({JobState.PROCESSING}), deletes=True
    )

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """See ``Dialect``."""
        return bearer(headers)

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:  # noqa: ARG002
        """See ``Dialect``."""
        model = body.get("model")
        inputs = {name: value for name, value in body.items() if name != "model"}
        return Asked(model, inputs) if isinstance(model, str) else None

    def accepted(self, world: World, job: Job, origin: str) -> Worded:  # noqa: ARG002
        """See ``Dialect``."""
        return Worded(_generation(world, job, "queued"), 201)

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:
        """See ``Dialect``."""
        return Worded(_generation(world, job, _WORDS[state] if isinstance(state, JobState) else state))

    def result(self, world: World, job: Job) -> Worded:
        """See ``Dialect``."""
        return self.status(world, job, job.state)

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:  # noqa: ARG002
        """See ``Dialect``."""
        return None


def _generation(world: World, job: Job, word: str) -> dict[str, Any]:
    return {
        "id": job.request_id,
        "generation_type": "video",
        "state": word,
        "failure_reason": job.error if word == "failed" else None,
        "created_at": created(job),
        "assets": {"video": world.file_urls(job)[0]} if word == "completed" else None,
        "model": job.model,
        "request": {"generation_type": "video", "model": job.model, **orjson.loads(job.body)},
    }
