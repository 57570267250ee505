"""Work in a thread is never left behind by the task that waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from engine.media.threads import settled


async def test_a_cancelled_wait_lasts_until_the_thread_has_ended() -> None:
    may_end = threading.Event()
    waiting = asyncio.create_task(settled(asyncio.to_thread(may_end.wait, 10)))
    for _ in range(3):
        await asyncio.sleep(0.01)
        waiting.cancel()
    await asyncio.sleep(0.05)
    assert not waiting.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_error_in_a_thread_that_was_cancelled_is_not_reported_as_lost() -> None:
    may_fail = threading.Event()

    def fail() -> None:
        may_fail.wait(10)
        raise OSError("disk")

    waiting = asyncio.create_task(settled(asyncio.to_thread(fail)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    may_fail.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_results_and_errors_pass_through() -> None:
    assert await settled(asyncio.to_thread(len, "abc")) == 3
    with pytest.raises(TypeError):
        await settled(asyncio.to_thread(len, 3))  # type: ignore[arg-type]
