"""The provider's own record of what it was asked for: how an unknown outcome is settled.

The list's envelope is undocumented, rows lag behind the truth and come once per output, and pages shift while
they are read. So: oldest first (new rows then only appear behind), the first list of objects that carry a
request id is the list, rows are merged by request id, and every request here is paced to one a second.
Absence from the history proves nothing by itself; what it may mean is decided in ``scheduling``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson
from aiolimiter import AsyncLimiter
from yarl import URL

from engine.epoch import epoch_of
from engine.job.model_name import bare_model
from engine.provider.reply import NoReply, Reply, media_urls, number, request_id_at
from engine.provider.verdict import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ROWS_PER_PAGE = 100
REQUESTS_PER_S = 1.0
PAGES_MAX = 2_000
DAY_S = 86_400.0
_NESTING_MAX = 4
_CREATED_KEYS = ("model_created", "created_at", "created", "created_utc", "timestamp")
_BODY_KEYS = ("request_body", "parameters", "inputs", "body")

RowState = Literal["completed", "failed", "running"]
_STATES: dict[str, RowState] = {"COMPLETED": "completed", "FAILED": "failed"}


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What the history says of one request.

    Attributes:
        request_id: the provider's name of it.
        model: the model it was for; empty if the row does not say.
        state: whether it has ended, and how; an unknown word means that it runs.
        body: the inputs as they were sent, with the provider's defaults perhaps; None if the row has none.
        urls: where its files are.
        cost_usd: what was charged; None if the row does not say.
        inference_s: how long it ran, if the row says.
        created_utc: when the provider took it, epoch seconds; None if the row does not say.
        error: why it failed.
        raw: the row as it came.
    """

    request_id: str
    model: str
    state: RowState
    body: dict[str, Any] | None
    urls: tuple[str, ...]
    cost_usd: float | None
    inference_s: float | None
    created_utc: float | None
    error: str
    raw: dict[str, Any]


class History(Protocol):
    """The record of an account's requests."""

    async def row(self, request_id: str) -> HistoryRow | Unavailable | None:
        """Return the row of one request of any age; None if the history does not have it (yet)."""
        ...

    async def rows(self, model: str, *, since_utc: float, until_utc: float) -> list[HistoryRow] | Unavailable:
        """Return the rows of a model's requests that were created between two moments (epoch seconds)."""
        ...


class HttpHistory:
    """The request history over HTTP.

    Args:
        get: makes one GET with the key.
        history_url: the part before ``/request-history``.
    """

    def __init__(self, get: Callable[[str], Awaitable[Reply | NoReply]], *, history_url: str) -> None:
        self._get = get
        self._url = URL(f"{history_url.rstrip('/')}/request-history")
        self._limiter = AsyncLimiter(1, 1 / REQUESTS_PER_S)

    async def row(self, request_id: str) -> HistoryRow | Unavailable | None:
        """Look one request up; see ``History.row``."""
        reply = await self._ask(self._url / request_id)
        if isinstance(reply, Reply) and reply.status == 404:  # noqa: PLR2004
            return None
        value = _usable(reply)
        if isinstance(value, Unavailable):
            return value
        found: dict[str, HistoryRow] = {}
        _add(found, rows_of(value))
        return found.get(request_id)

    async def rows(self, model: str, *, since_utc: float, until_utc: float) -> list[HistoryRow] | Unavailable:
        """List a window; see ``History.rows``."""
        model = bare_model(model)
        query = _Query(model, _day(since_utc - DAY_S), _day(until_utc + DAY_S), {})
        beginning = await self._page(query, 1)
        if isinstance(beginning, Unavailable):
            return beginning
        ordered = _is_ascending(beginning)
        first = await self._first_page(query, since_utc) if ordered else 1
        if isinstance(first, Unavailable):
            return first
        found: dict[str, HistoryRow] = {}
        before: list[HistoryRow] = []
        for number_ in range(first, first + PAGES_MAX):
            page = await self._page(query, number_)
            if isinstance(page, Unavailable):
                return page
            if not page or (ordered and page[0].created_utc is not None and page[0].created_utc > until_utc):
                return [row for row in found.values() if _concerns(row, model, since_utc, until_utc)]
            if page == before:
                break
            _add(found, page)
            before = page
        return Unavailable("the history's pages repeat or never end; nothing can be concluded from them")

    async def _first_page(self, query: _Query, since_utc: float) -> int | Unavailable:
        """Find the page where the window begins without reading all before it: gallop, then halve."""
        low, high = 1, 1
        while high < PAGES_MAX:
            page = await self._page(query, high)
            if isinstance(page, Unavailable):
                return page
            if not page or _created(page[-1]) >= since_utc:
                break
            low, high = high + 1, high * 2
        while low < high:
            middle = (low + high) // 2
            page = await self._page(query, middle)
            if isinstance(page, Unavailable):
                return page
            if not page or _created(page[-1]) >= since_utc:
                high = middle
            else:
                low = middle + 1
        return low

    async def _page(self, query: _Query, page: int) -> list[HistoryRow] | Unavailable:
        """Return the rows of one page, not merged; only a page without rows is the end, however long pages are."""
        if page in query.pages:
            return query.pages[page]
        url = self._url.with_query(
            page=page,
            per_page=ROWS_PER_PAGE,
            from_date=query.from_date,
            to_date=query.to_date,
            model_name=query.model,
            sort_by="model_created",
            sort_order="asc",
        )
        reply = await self._ask(url)
        beyond_the_end = isinstance(reply, Reply) and reply.status == 404 and page > 1  # noqa: PLR2004
        value = [] if beyond_the_end else _usable(reply)
        if isinstance(value, Unavailable):
            return value
        query.pages[page] = rows_of(value)
        return query.pages[page]

    async def _ask(self, url: URL) -> Reply | NoReply:
        await self._limiter.acquire()
        return await self._get(str(url))


@dataclass(frozen=True, slots=True)
class _Query:
    """What is listed, and the pages of it that were read already: each costs a second."""

    model: str
    from_date: str
    to_date: str
    pages: dict[int, list[HistoryRow]]


def rows_of(value: Any) -> list[HistoryRow]:
    """Return the rows of a list reply, whatever envelope they came in; a single row is a list of one."""
    found = _find_rows(value, _NESTING_MAX)
    return [row for row in (_row(item) for item in found) if row is not None]


def _find_rows(value: Any, nesting: int) -> Sequence[Any]:
    """Find the first list of objects that carry a request id, breadth before depth."""
    if _is_row(value):
        return [value]
    if isinstance(value, list):
        return [item for item in value if _is_row(item)]
    if not isinstance(value, dict) or nesting == 0:
        return []
    for member in value.values():
        if isinstance(member, list) and any(_is_row(item) for item in member):
            return _find_rows(member, nesting)
    for member in value.values():
        if found := _find_rows(member, nesting - 1):
            return found
    return []


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and "request_id" in value


def _row(raw: dict[str, Any]) -> HistoryRow | None:
    request_id = request_id_at(raw, "request_id")
    if request_id is None:
        return None
    word = raw.get("model_status") or raw.get("status")
    model, error = raw.get("model_name"), raw.get("error")
    urls = media_urls(raw, ("generation_url",))
    latency_ms = number(raw.get("latency_ms"))
    return HistoryRow(
        request_id=request_id,
        model=model if isinstance(model, str) else "",
        state=_STATES.get(word.upper(), "running") if isinstance(word, str) else "running",
        body=_body(raw),
        urls=urls,
        cost_usd=number(raw.get("credits_deduction")),
        inference_s=None if latency_ms is None else latency_ms / 1000,
        created_utc=next((epoch for key in _CREATED_KEYS if (epoch := epoch_of(raw.get(key))) is not None), None),
        error=error if isinstance(error, str) else "" if error is None else orjson.dumps(error).decode(),
        raw=raw,
    )


def _body(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Return the inputs of a row, which come as an object or as its JSON text."""
    for key in _BODY_KEYS:
        value = raw.get(key)
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError:
                continue
        if isinstance(value, dict):
            return value
    return None


def _add(found: dict[str, HistoryRow], rows: Sequence[HistoryRow]) -> None:
    """Add rows, one per request: the provider writes one per output."""
    for row in rows:
        known = found.get(row.request_id)
        found[row.request_id] = (
            row if known is None else replace(known, urls=tuple(dict.fromkeys((*known.urls, *row.urls))))
        )


def _concerns(row: HistoryRow, model: str, since_utc: float, until_utc: float) -> bool:
    """Whether a row is of the very model (the provider's filter is a substring) and of the window."""
    if row.model and row.model != model:
        return False
    return row.created_utc is None or since_utc <= row.created_utc <= until_utc


def _created(row: HistoryRow) -> float:
    """Return when a row was created; one that does not say must be looked at, so it counts as within any window."""
    return float("inf") if row.created_utc is None else row.created_utc


def _is_ascending(rows: Sequence[HistoryRow]) -> bool:
    """Whether the provider sorts as it was asked to; only then may pages be skipped."""
    moments = [row.created_utc for row in rows]
    return all(first is not None and second is not None and first <= second for first, second in pairwise(moments))


def _usable(reply: Reply | NoReply) -> Any:
    """Return the JSON of a good reply, or why there is none."""
    if isinstance(reply, NoReply):
        return Unavailable(reply.reason, reached=reply.sent)
    if reply.status != 200 or reply.json() is None:  # noqa: PLR2004
        return Unavailable(reply.error_text())
    return reply.json()


def _day(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d")
