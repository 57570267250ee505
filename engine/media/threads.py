"""Wait for work in a thread so that it never outlives the file it works on.

A thread cannot be interrupted. A task that is cancelled while its thread writes must wait for the write to end
before it closes the descriptor, else the bytes could go to whatever file gets the number next.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")


async def settled(work: Coroutine[Any, Any, Result] | asyncio.Future[Result]) -> Result:
    """Return what ``work`` returns; when cancelled, let it end first, then be cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that the loop does not report it: the cancellation is what counts
        raise
