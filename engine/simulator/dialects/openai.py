"""OpenAI's videos: one object told in full at every step; its bytes are at an address of the API, behind the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from engine.simulator.dialects.dialect import Asked, Worded, bearer
from engine.simulator.job import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.dialects.dialect import CancelRoute
    from engine.simulator.job import Job
    from engine.simulator.world import World

_WORDS = {
    JobState.QUEUED: "queued",
    JobState.PROCESSING: "in_progress",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
}
_PROGRESS = {"queued": 0, "completed": 100}


class OpenAi:
    """See ``Dialect``."""

    name = "openai"
    submit_path = "/v1/videos"
    submits_below: tuple[str, ...] = ("/v1/videos",)
    status_path = "/v1/videos/{request_id}"
    result_path = ""
    unknown_word = "rendering"
    cancel: CancelRoute | None = None

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """See ``Dialect``."""
        return bearer(headers)

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:  # noqa: ARG002
        """See ``Dialect``."""
        model = body.get("model", "sora-2")
        inputs = {name: value for name, value in body.items() if name != "model"}
        return Asked(model, inputs) if isinstance(model, str) else None

    def accepted(self, world: World, job: Job, origin: str) -> Worded:  # noqa: ARG002
        """See ``Dialect``."""
        return Worded(_video(job, "queued"))

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:  # noqa: ARG002
        """See ``Dialect``."""
        return Worded(_video(job, _WORDS[state] if isinstance(state, JobState) else state))

    def result(self, world: World, job: Job) -> Worded:
        """See ``Dialect``."""
        return self.status(world, job, job.state)

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:  # noqa: ARG002
        """See ``Dialect``."""
        return None


def _video(job: Job, word: str) -> dict[str, Any]:
    created, prompt = int(job.created_utc), orjson.loads(job.body).get("prompt")
    ended = created + int((job.ended_s or job.created_s) - job.created_s)
    return {
        "id": job.request_id,
        "object": "video",
        "model": job.model,
        "status": word,
        "progress": _PROGRESS.get(word, 50),
        "created_at": created,
        "completed_at": ended if word == "completed" else None,
        "expires_at": ended + 3600 if word == "completed" else None,
        "prompt": prompt,
        "seconds": "4",
        "size": "720x1280",
        "remixed_from_video_id": None,
        "error": {"code": "generation_failed", "message": job.error} if word == "failed" else None,
    }
