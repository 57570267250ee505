"""Wait for what a test waits for, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from engine.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_S = 0.005


async def wait_until(predicate: Callable[[], object], *, description: str, within_s: float = 10.0) -> None:
    """Return once ``predicate()`` is true; fail with ``description`` if that takes too long."""
    clock = SystemClock()
    until = clock.now() + within_s
    while not predicate():
        if clock.now() > until:
            pytest.fail(f"waited {within_s:.0f} s in vain until {description}")
        await clock.sleep(STEP_S)


def wait_in_thread_until(predicate: Callable[[], object], *, description: str, within_s: float = 10.0) -> None:
    """Do the same where no event loop runs."""
    clock, pause = SystemClock(), threading.Event()
    until = clock.now() + within_s
    while not predicate():
        if clock.now() > until:
            pytest.fail(f"waited {within_s:.0f} s in vain until {description}")
        pause.wait(STEP_S)


async def turns(count: int = 5) -> None:
    """Let the event loop do what is ready to be done."""
    for _ in range(count):
        await asyncio.sleep(0)
