"""Black Forest Labs: an address to ask at that comes with the acceptance, moderation as words of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.simulator.dialects.dialect import Asked, CancelRoute, Worded
from engine.simulator.job import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.simulator.job import Job
    from engine.simulator.world import World

_WORDS = {
    JobState.QUEUED: "Pending",
    JobState.PROCESSING: "Pending",
    JobState.COMPLETED: "Ready",
    JobState.FAILED: "Error",
}


class Bfl:
    """See ``Dialect``."""

    name = "bfl"
    submit_path = "/v1/{model}"
    submits_below: tuple[str, ...] = ("/v1/",)
    status_path = "/poll/{request_id}"  # elsewhere than documented: the address of the acceptance must be used
    result_path = ""
    unknown_word = "Warming"
    cancel: CancelRoute | None = None

    def key_of(self, headers: Mapping[str, str]) -> str | None:
        """See ``Dialect``."""
        return headers.get("x-key")

    def asked(self, match: Mapping[str, str], body: dict[str, object]) -> Asked | None:
        """See ``Dialect``."""
        return Asked(match["model"], body)

    def accepted(self, world: World, job: Job, origin: str) -> Worded:  # noqa: ARG002
        """See ``Dialect``."""
        return Worded({"id": job.request_id, "polling_url": f"{origin}/poll/{job.request_id}"})

    def status(self, world: World, job: Job, state: JobState | str) -> Worded:
        """See ``Dialect``."""
        word = _WORDS[state] if isinstance(state, JobState) else state
        result = None
        if word == "Ready":
            result = {"sample": world.file_urls(job)[0], "seed": 7, "duration": round(job.inference_time_s, 3)}
        details = {"error": job.error} if word == "Error" else None
        return Worded({"id": job.request_id, "status": word, "result": result, "progress": None, "details": details})

    def result(self, world: World, job: Job) -> Worded:
        """See ``Dialect``."""
        return self.status(world, job, job.state)

    def cancelled(self, world: World, job: Job, before: JobState) -> Worded | None:  # noqa: ARG002
        """See ``Dialect``."""
        return None
