"""``POST /v1/{model}``: the older synchronous call, which blocks until the job is done.

The same job with the same price as under ``/v2``, and the same faults; the reply is the media itself, or JSON where
there is none. Knows nothing of polling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from engine.simulator.faults import Fault
from engine.simulator.job import Job, JobState
from engine.simulator.replies import JSON, json_reply
from engine.simulator.result_body import output_fields

if TYPE_CHECKING:
    from engine.simulator.submit_routes import SubmitRoutes
    from engine.simulator.world import World

_WITHOUT_MEDIA = ("text", "base64", "none")


class SyncRoutes:
    """The route that creates a job and waits for it."""

    def __init__(self, world: World, submits: SubmitRoutes) -> None:
        self._world = world
        self._submits = submits

    def add_to(self, app: web.Application) -> None:
        """Mount the routes."""
        app.router.add_post("/v1/{model}", self.generate)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Accept, wait for the end, answer with the outcome."""
        taken = await self._submits.taken(request)
        if not isinstance(taken, Job):
            return taken
        await self._world.ended(taken)
        after = await self._submits.fault_after(taken)
        return await self._submits.broken(request, self._outcome(taken, after), after)

    def _outcome(self, job: Job, after: Fault | None) -> web.Response:
        if job.state is JobState.FAILED:
            return json_reply({"error": job.error}, self._world.scenario.work.sync_failed_http_status)
        named = self._world.newest_last[0] if after is Fault.REPLY_WITH_OLD_ID else job
        headers = {
            "x-request-id": named.request_id,
            "x-cost": str(job.price_usd),
            "x-remaining-credits": str(job.remaining_credits_usd),
            "x-generation-time": str(round(job.inference_time_s, 3)),
        }
        if after is Fault.REPLY_WITHOUT_ID:
            del headers["x-request-id"]
        if self._world.shape_of(job) in _WITHOUT_MEDIA:
            return web.Response(body=orjson.dumps(output_fields(self._world, job)), content_type=JSON, headers=headers)
        clip = self._world.clip(self._world.file_urls(job)[0].rpartition("/")[2])
        body = b"".join(clip.pieces(0, clip.size_bytes))
        return web.Response(body=body, content_type=clip.content_type, headers=headers)
