"""How a job is doing, and what it gave, in the words of a dialect.

The record is gone an hour after the submit, whatever became of the job.
Knows nothing of how jobs are accepted or billed.
"""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from engine.simulator.faults import POLL, Fault
from engine.simulator.job import Job, JobState
from engine.simulator.replies import JSON, edge_page, error_reply, json_reply, ok_page, rate_limited_reply
from engine.simulator.wire import reset, stall

if TYPE_CHECKING:
    from engine.simulator.dialects.dialect import Dialect, Worded
    from engine.simulator.world import World

_FAULT_WAIT_S = 1.0
_DEPTH = 100_000
_NOT_READY_KINDS = ("processing", "not_found", "error_500")


class PollRoutes:
    """The two routes that are asked about a job."""

    def __init__(self, world: World, dialect: Dialect) -> None:
        self._world = world
        self._dialect = dialect

    def add_to(self, app: web.Application) -> None:
        """Mount the routes."""
        app.router.add_get(self._dialect.status_path, self.status)
        if self._dialect.result_path:
            app.router.add_get(self._dialect.result_path, self.result)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer a poll."""
        self._world.books.counts["polls"] += 1
        job = self._world.find(request.match_info["request_id"])
        if job is None:
            return _not_found(request)
        fault = await self._fault(request, job)
        if fault is not None:
            return fault
        await self._held(job)
        return self._status_reply(job)

    async def result(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for the result."""
        self._world.books.counts["result_gets"] += 1
        job = self._world.find(request.match_info["request_id"])
        if job is None:
            return _not_found(request)
        fault = await self._fault(request, job)
        if fault is not None:
            return fault
        if job.state in (JobState.FAILED, JobState.CANCELLED):
            return _reply(self._dialect.result(self._world, job))
        if job.state is not JobState.COMPLETED:
            return self._status_reply(job)
        return self._not_ready(request, job) or self._result_reply(job)

    async def _held(self, job: Job) -> None:
        """Keep who asks waiting while the job runs, as a long poll is."""
        held_s = self._world.scenario.work.status_held_s
        if held_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(held_s):
                    await self._world.ended(job)

    def _status_reply(self, job: Job) -> web.Response:
        state: JobState | str = job.state
        if job.state in (JobState.QUEUED, JobState.PROCESSING) and Fault.UNKNOWN_STATUS_WORD in job.faults:
            self._world.draws.note(Fault.UNKNOWN_STATUS_WORD)
            state = self._dialect.unknown_word
        if job.state is JobState.COMPLETED and not self._dialect.result_path:
            self._fetched(job)
        return _reply(self._dialect.status(self._world, job, state))

    def _result_reply(self, job: Job) -> web.Response:
        self._fetched(job)
        return _reply(self._dialect.result(self._world, job))

    def _fetched(self, job: Job) -> None:
        if not job.result_fetched:
            job.result_fetched = True
            self._world.books.counts["results_fetched"] += 1

    def _not_ready(self, request: web.Request, job: Job) -> web.Response | None:
        details = self._world.scenario.fault_details
        since_s = self._world.clock.now() - (job.ended_s or 0.0)
        if Fault.RESULT_NOT_READY not in job.faults or since_s >= details.result_not_ready_s:
            return None
        self._world.draws.note(Fault.RESULT_NOT_READY)
        share = self._world.dice.share("not ready", job.key, job.gets_count)
        mixed = _NOT_READY_KINDS[int(share * len(_NOT_READY_KINDS))]
        match mixed if details.result_not_ready_as == "mixed" else details.result_not_ready_as:
            case "not_found":
                return _not_found(request)
            case "error_500":
                return error_reply(500, "Result is not available")
            case _:
                return _reply(self._dialect.status(self._world, job, JobState.PROCESSING))

    async def _fault(self, request: web.Request, job: Job) -> web.StreamResponse | None:
        nth = job.gets_count
        job.gets_count += 1
        world = self._world
        fault = world.draws.first(POLL, job.key, nth, job.body)
        match fault:
            case None:
                return None
            case Fault.POLL_RATE_LIMITED:
                world.books.counts["rate_limited"] += 1
                return rate_limited_reply(world.scenario.rate, wait_s=_FAULT_WAIT_S, utc_s=world.utc())
            case Fault.POLL_STALLED:
                return await stall(request, world.scenario.fault_details.reply_stalled_s)
            case Fault.POLL_LOST:
                return reset(request)
            case Fault.POLL_REDIRECT:
                return web.Response(status=302, headers={"Location": f"{world.media_url}{request.path}"})
            case Fault.POLL_ERROR_500:
                return error_reply(500, "Internal server error")
            case Fault.POLL_BAD_GATEWAY:
                return edge_page(502)
            case Fault.POLL_HTML:
                return ok_page()
            case _:
                return _misshapen(fault, job, nth, world.scenario.fault_details.huge_bytes)


def _misshapen(fault: Fault, job: Job, nth: int, huge_bytes: int) -> web.Response:
    """Return a 200 whose body is not what it should be."""
    status = orjson.dumps({"status": str(job.state)})
    match fault:
        case Fault.POLL_HUGE:
            return web.Response(body=status.ljust(huge_bytes), content_type=JSON)
        case Fault.POLL_GZIP_BOMB:
            packed = gzip.compress(status.ljust(huge_bytes), compresslevel=9, mtime=0)
            return web.Response(body=packed, content_type=JSON, headers={"Content-Encoding": "gzip"})
        case Fault.POLL_DEEP:
            return web.Response(body=b'{"status":' + b"[" * _DEPTH + b"]" * _DEPTH + b"}", content_type=JSON)
        case Fault.POLL_WITHOUT_STATUS:
            return json_reply({"status": None if nth % 2 else 7, "request_id": job.request_id})
        case _:
            return web.Response(body=status[:-3], content_type=JSON)


def _reply(worded: Worded) -> web.Response:
    return json_reply(worded.body, worded.http_status)


def _not_found(request: web.Request) -> web.Response:
    return error_reply(404, f"Request {request.match_info['request_id']} not found")
