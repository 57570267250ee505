"""See whether the URLs in an input answer, before anything is paid for what nobody could fetch.

One HEAD each, with a small GET where a host does not answer HEAD; public hosts only, no key, bounded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from engine.media.connections import open_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONCURRENCY = 16
CONNECT_S_MAX = 10.0
ANSWER_S_MAX = 20.0
REDIRECTS_MAX = 5
_NOT_FOR_HEAD = frozenset({403, 405, 501})


async def unanswered(urls: AsyncIterator[str], *, allow_private_hosts: bool) -> dict[str, str]:
    """Return the URLs that do not answer with success, each with the reason."""
    problems: dict[str, str] = {}
    slots = asyncio.Semaphore(CONCURRENCY)
    async with (
        open_session(allow_private_hosts=allow_private_hosts, resolver=None, connect_s_max=CONNECT_S_MAX) as session,
        asyncio.TaskGroup() as tasks,
    ):

        async def check(url: str) -> None:
            try:
                if problem := await _problem(session, url):
                    problems[url] = problem
            finally:
                slots.release()

        async for url in urls:
            await slots.acquire()
            tasks.create_task(check(url), name="url-check")
    return problems


async def _problem(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            status = await _status(session, "HEAD", url)
            if status in _NOT_FOR_HEAD:
                status = await _status(session, "GET", url)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return type(error).__name__
    return "" if status < 400 else f"HTTP {status}"  # noqa: PLR2004 (the HTTP classes of errors)


async def _status(session: aiohttp.ClientSession, method: str, url: str) -> int:
    headers = {"Range": "bytes=0-0"} if method == "GET" else None
    async with session.request(
        method, url, headers=headers, allow_redirects=True, max_redirects=REDIRECTS_MAX
    ) as response:
        return response.status
