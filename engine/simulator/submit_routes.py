"""Submissions: every POST that is accepted is a new job and will be billed.

Faults come in two kinds, and the difference is money: before the job is accepted, and after. Nothing is
awaited between the decision and the acceptance. Knows nothing of polling.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from engine.simulator.credits import Refusal
from engine.simulator.faults import SUBMIT_AFTER, SUBMIT_BEFORE, Fault
from engine.simulator.job import Job
from engine.simulator.replies import JSON, edge_page, error_reply, json_reply, ok_page, rate_limited_reply
from engine.simulator.wire import reset, send_byte_by_byte, send_cut, stall

if TYPE_CHECKING:
    from engine.simulator.dialects.dialect import Dialect
    from engine.simulator.world import World

_TEAM_LIMIT_HTTP_STATUS = 406
_FAULT_WAIT_S = 1.0


class SubmitRoutes:
    """The route that creates jobs."""

    def __init__(self, world: World, dialect: Dialect) -> None:
        self._world = world
        self._dialect = dialect

    def add_to(self, app: web.Application) -> None:
        """Mount the routes."""
        app.router.add_post(self._dialect.submit_path, self.submit)

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Refuse, or accept and answer; with faults before and after."""
        taken = await self.taken(request)
        return await self._answer(request, taken) if isinstance(taken, Job) else taken

    async def taken(self, request: web.Request) -> Job | web.StreamResponse:
        """Return the job that the request became, or the refusal; with faults before acceptance."""
        if request.content_type != JSON:
            return error_reply(406, "Invalid content type")
        content = _json_object(await request.read())
        asked = None if content is None else self._dialect.asked(request.match_info, content)
        model = asked.model if asked else request.match_info.get("model", "")
        refusal = self._refusal(model)
        if refusal is not None:
            return refusal
        if asked is None:
            return error_reply(400, "Request body must be a JSON object of the documented form")
        body = asked.inputs
        account = self._world.books.account_of(model, body)
        nth = account.attempts
        account.attempts += 1
        before = self._world.draws.first(SUBMIT_BEFORE, account.sha256, nth, account.body)
        if before is not None:
            return self._fail_before(request, before)
        return self._money_refusal(model) or self._world.accept(account, body, attempt=nth)

    def _refusal(self, model: str) -> web.Response | None:
        access = self._world.scenario.access
        if model in access.retired_models:
            return error_reply(410, f"Model {model} has been retired")
        if model in access.forbidden_models:
            return error_reply(403, f"Access to model {model} is not allowed for this key")
        if model not in access.models and "*" not in access.models:
            return error_reply(404, f"Model {model} not found")
        return None

    def _money_refusal(self, model: str) -> web.Response | None:
        match self._world.money_refusal(model):
            case None:
                return None
            case Refusal.TEAM_LIMIT:
                return error_reply(_TEAM_LIMIT_HTTP_STATUS, "Team spend limit reached for this month")
            case Refusal.CREDITS:
                status = self._world.scenario.credits.refusal_http_status
                return error_reply(status, "Insufficient credits. Please add credits to continue.")

    def _fail_before(self, request: web.Request, fault: Fault) -> web.Response:
        world = self._world
        match fault:
            case Fault.ERROR_500:
                return error_reply(500, "Internal server error")
            case Fault.UNAVAILABLE_BEFORE:
                return web.Response(status=503)
            case Fault.BAD_GATEWAY_BEFORE:
                return edge_page(502)
            case Fault.GATEWAY_TIMEOUT_BEFORE:
                return edge_page(504)
            case Fault.SUBMIT_RATE_LIMITED:
                world.books.counts["rate_limited"] += 1
                return rate_limited_reply(world.scenario.rate, wait_s=_FAULT_WAIT_S, utc_s=world.utc())
            case Fault.SUBMIT_REDIRECT:
                return web.Response(status=307, headers={"Location": f"{world.media_url}{request.path}"})
            case _:
                return reset(request)

    async def _answer(self, request: web.Request, job: Job) -> web.StreamResponse:
        after = await self.fault_after(job)
        named = self._world.newest_last[0] if after is Fault.REPLY_WITH_OLD_ID else job
        origin = self._world.media_url if after is Fault.FOREIGN_URLS else self._world.base_url
        worded = self._dialect.accepted(self._world, named, origin)
        if after is Fault.REPLY_WITHOUT_ID:
            return json_reply({"status": "QUEUED"})
        good = web.Response(body=orjson.dumps(worded.body), status=worded.http_status, content_type=JSON)
        return await self.broken(request, good, after)

    async def fault_after(self, job: Job) -> Fault | None:
        """Draw what goes wrong with the good reply to an accepted submission; it may come late whatever it is."""
        draws, details = self._world.draws, self._world.scenario.fault_details
        after = draws.first(SUBMIT_AFTER, job.body_sha256, job.attempt, job.body)
        if draws.hits(Fault.REPLY_DELAYED, job.body_sha256, job.attempt, job.body):
            await asyncio.sleep(details.reply_delayed_s)
        return after

    async def broken(self, request: web.Request, good: web.Response, after: Fault | None) -> web.StreamResponse:
        """Send the good reply, or what becomes of it on its way."""
        details, body = self._world.scenario.fault_details, good.body
        assert isinstance(body, bytes)
        match after:
            case None | Fault.FOREIGN_URLS | Fault.REPLY_WITH_OLD_ID | Fault.REPLY_WITHOUT_ID:
                return good
            case Fault.BAD_GATEWAY_AFTER:
                return edge_page(502)
            case Fault.GATEWAY_TIMEOUT_AFTER:
                return edge_page(504)
            case Fault.REPLY_TRUNCATED:
                own = {name: value for name, value in good.headers.items() if name.lower().startswith("x-")}
                return web.Response(body=body[: len(body) // 2], content_type=good.content_type, headers=own)
            case Fault.REPLY_CUT:
                return await send_cut(request, body, content_type=good.content_type)
            case Fault.REPLY_HTML:
                return ok_page()
            case Fault.REPLY_STALLED:
                return await stall(request, details.reply_stalled_s)
            case Fault.REPLY_SLOW:
                byte_s = details.reply_slow_byte_s
                return await send_byte_by_byte(request, body, content_type=good.content_type, byte_s=byte_s)
            case _:
                return reset(request)


def _json_object(raw: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
