"""The request history: what the account asked for, with inputs and outcome, late and in pages.

Rows show the world as it was ``lag_s`` ago, one row per output. The list reaches back 31 days at most;
a single id resolves at any age. Knows nothing of how jobs are accepted or billed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from engine.simulator.faults import HISTORY, Fault
from engine.simulator.history_rows import enveloped, generation, matches_status, row, rows_of
from engine.simulator.replies import edge_page, error_reply, json_reply
from engine.simulator.wire import reset

if TYPE_CHECKING:
    from aiohttp import web

    from engine.simulator.job import Job
    from engine.simulator.world import World

_PER_PAGE_MAX = 100
_GENERATIONS_PER_PAGE = 20
_SPAN_DAYS_MAX = 31
_DEFAULT_DAYS = 7
_STATUSES = ("", "COMPLETED", "FAILED", "PENDING")


class _QueryError(ValueError):
    """The query cannot be answered; the message is the reply's error."""


class HistoryRoutes:
    """The routes below ``/inference-request``."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add_to(self, app: web.Application) -> None:
        """Mount the routes."""
        app.router.add_get("/inference-request/request-history", self.page_of_rows)
        app.router.add_get("/inference-request/request-history/{request_id}", self.one)
        app.router.add_get("/inference-request/generations", self.generations)
        app.router.add_get("/inference-request/recent-generations", self.generations)

    async def page_of_rows(self, request: web.Request) -> web.StreamResponse:
        """Answer a page of rows."""
        fault = self._fault(request)
        if fault is not None:
            return fault
        query = request.query
        try:
            page = _whole(query.get("page", "1"), "page", 1, 10**9)
            per_page = _whole(query.get("per_page", "20"), "per_page", 1, _PER_PAGE_MAX)
            jobs = self._selected(query.get("from_date", ""), query.get("to_date", ""))
            status = _one_of(query.get("status", ""), _STATUSES)
        except _QueryError as error:
            return error_reply(400, str(error))
        chosen = self._filtered(jobs, query.get("model_name", ""), status)
        ordered = _ordered(chosen, query.get("sort_by", ""), descending=query.get("sort_order") != "asc")
        begin = (page - 1) * per_page
        places, total = self._places(ordered, begin, begin + per_page)
        moment_s = self._moment_s()
        rows = [row(self._world, job, index, moment_s) for job, index in places]
        envelope = self._world.scenario.history.envelope
        return json_reply(enveloped(envelope, rows, total=total, page=page, per_page=per_page))

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Answer the row of one request, of any age."""
        fault = self._fault(request)
        if fault is not None:
            return fault
        job = self._world.jobs.get(request.match_info["request_id"])
        moment_s = self._moment_s()
        if job is None or job.created_s > moment_s:
            return error_reply(404, "Request not found")
        return json_reply(row(self._world, job, 0, moment_s))

    async def generations(self, request: web.Request) -> web.StreamResponse:
        """Answer the requests that gave an output, newest first."""
        fault = self._fault(request)
        if fault is not None:
            return fault
        try:
            page = _whole(request.query.get("page", "1"), "page", 1, 10**9)
            jobs = self._selected(request.query.get("start_date", ""), request.query.get("end_date", ""))
        except _QueryError as error:
            return error_reply(400, str(error))
        chosen = self._filtered(jobs, request.query.get("model_name", ""), "COMPLETED")
        ordered = _ordered(chosen, "", descending=True)
        begin = (page - 1) * _GENERATIONS_PER_PAGE
        rows = [
            generation(self._world, job, self._moment_s()) for job in ordered[begin : begin + _GENERATIONS_PER_PAGE]
        ]
        return json_reply({"generations": rows, "total": len(ordered), "page": page})

    def _moment_s(self) -> float:
        return self._world.clock.now() - self._world.scenario.history.lag_s

    def _fault(self, request: web.Request) -> web.StreamResponse | None:
        nth = self._world.books.counts["history_requests"]
        match self._world.draws.first(HISTORY, "history", nth, b""):
            case None:
                return None
            case Fault.HISTORY_ERROR:
                return edge_page(503)
            case _:
                return reset(request)

    def _selected(self, from_text: str, to_text: str) -> list[Job]:
        today = datetime.fromtimestamp(self._world.utc(), UTC).date()
        last = _day(to_text, "to_date") or today
        first = _day(from_text, "from_date") or last - timedelta(days=_DEFAULT_DAYS)
        if not timedelta() <= last - first <= timedelta(days=_SPAN_DAYS_MAX):
            raise _QueryError(f"the window must span 0 to {_SPAN_DAYS_MAX} days")
        jobs = self._world.newest_last
        begin = bisect_left(jobs, _utc_s(first), key=lambda job: job.created_utc)
        end = bisect_left(jobs, _utc_s(last + timedelta(days=1)), key=lambda job: job.created_utc)
        return jobs[begin : min(end, bisect_right(jobs, self._moment_s(), key=lambda job: job.created_s))]

    def _filtered(self, jobs: list[Job], model_part: str, status: str) -> list[Job]:
        models = {model for model in self._world.models_seen if model_part in model}
        if models != self._world.models_seen:
            jobs = [job for job in jobs if job.model in models]
        moment_s = self._moment_s()
        return [job for job in jobs if matches_status(job, status, moment_s)] if status else jobs

    def _places(self, ordered: list[Job], begin: int, end: int) -> tuple[list[tuple[Job, int]], int]:
        """Return the part of the rows that a page shows, as job and output, and how many rows there are."""
        copies = self._world.scenario.history.row_copies
        if self._world.files_per_job_max == 1:  # the usual case, at no cost for the rows of other pages
            total = len(ordered) * copies
            return [(ordered[place // copies], 0) for place in range(begin, min(end, total))], total
        moment_s = self._moment_s()
        places = [(job, index) for job in ordered for index in range(rows_of(self._world, job, moment_s))]
        return places[begin:end], len(places)


def _ordered(jobs: list[Job], sort_by: str, *, descending: bool) -> list[Job]:
    match sort_by:
        case "model_name":
            return sorted(jobs, key=lambda job: job.model, reverse=descending)
        case "credits_deduction":
            return sorted(jobs, key=lambda job: job.price_usd, reverse=descending)
        case _:
            return jobs[::-1] if descending else jobs


def _whole(text: str, name: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise _QueryError(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _one_of(text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise _QueryError(f"status must be one of {', '.join(allowed[1:])}")
    return text


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _QueryError(f"{name} must be YYYY-MM-DD") from None


def _utc_s(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
