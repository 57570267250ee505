"""Run a coroutine on the quickest event loop that is installed: uvloop, where the extra of that name is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run_to_end(work: Coroutine[None, None, T]) -> T:
    """Return what ``work`` returns, or raise what it raises."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)


def new_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop."""
    try:
        import uvloop  # noqa: PLC0415 (an extra)
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
